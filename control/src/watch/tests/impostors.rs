//! What answers in the API server's place, and an API server that is not the one that it was.

use super::*;

/// What could be read as an empty list of whatever was asked for.
const LISTS: [&str; 4] = [
    r#"{"kind": "ConfigMapList", "apiVersion": "v1", "metadata": {"resourceVersion": "30"}, "items": []}"#,
    r#"{"kind": "ClusterNetworkPolicyList", "apiVersion": "v1", "metadata": {"resourceVersion": "30"},
        "items": []}"#,
    r#"{"metadata": {"resourceVersion": "30"}, "items": []}"#,
    r#"{"kind": "Status", "status": "Failure", "code": 500, "items": null,
        "metadata": {"resourceVersion": "30"}}"#,
];

#[tokio::test(start_paused = true)]
async fn a_list_of_another_kind_takes_nothing_out_of_force() {
    for text in LISTS {
        let answer = Answer::Says(200, text.to_owned());
        let mut bench = Bench::new(known());
        bench.run(2).await;
        bench.server.on(CLUSTER_POLICIES, "watch=true", status(410));
        bench.server.on(CLUSTER_POLICIES, "limit=500", answer.clone());
        bench.run(120).await;
        assert_eq!(bench.denial(), (State::Read, 1, true), "{text}");
        let trouble = bench.standing(CLUSTER_POLICY).trouble().unwrap().to_owned();
        assert!(trouble.message.contains("what came says that it is"), "{trouble:?}");
        let server = known();
        server.on(CLUSTER_POLICIES, "limit=500", answer);
        let mut begins = Bench::new(server);
        begins.run(60).await;
        assert_eq!(begins.denial(), (State::Unread, 0, true), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_watch_tells_of_another_kind_is_no_news_but_a_reason_to_list() {
    for (kind, version) in [("ConfigMap", "v1"), ("ClusterNetworkPolicy", "v1")] {
        let mut bench = Bench::new(known());
        bench.run(2).await;
        let object = json!({"kind": kind, "apiVersion": version,
                            "metadata": {"name": "deny", "resourceVersion": "21"}});
        let event = json!({"type": "DELETED", "object": object});
        let told = Answer::Watch(format!("{event}\n"), Duration::from_secs(80));
        bench.server.on(CLUSTER_POLICIES, "watch=true", told);
        for _ in 0..30 {
            bench.run(2).await;
            let (state, objects, _) = bench.denial();
            assert_eq!((state, objects), (State::Read, 1), "{version} {kind}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_api_server_whose_store_went_back_is_read_anew_and_once() {
    let mut bench = Bench::new(known());
    bench.run(2).await;
    assert_eq!(bench.denial(), (State::Read, 1, false));
    // A watch from what is to come is told nothing.
    bench.server.on(CLUSTER_POLICIES, "limit=500", list(&[], "7", ""));
    bench.run(120).await;
    assert_eq!(bench.denial().1, 1);
    bench.server.on("/api/v1/namespaces", "limit=1", list(&[], "8", ""));
    bench.run(60).await;
    assert_eq!(bench.denial(), (State::Read, 0, false));
    bench.server.asked();
    bench.run(120).await;
    let asked = bench.server.asked();
    assert!(asked.iter().any(|what| what.contains("limit=1")), "it looks again");
    assert!(asked.iter().all(|what| !what.contains("limit=500")), "{asked:?}");
}
