//! Both ends, against each other and against whoever says something else.

use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

use super::*;
use crate::settings::{Machine, Raw, RawCluster, Settings};

/// A socket that is served, its path, and where successors come out.
fn served(
    anchors: AnchorSet,
) -> (tempfile::TempDir, PathBuf, tokio::sync::mpsc::Receiver<Successor>) {
    served_on(anchors, None)
}

/// The same of a cluster's node.
fn served_on(
    anchors: AnchorSet,
    node: Option<&str>,
) -> (tempfile::TempDir, PathBuf, tokio::sync::mpsc::Receiver<Successor>) {
    let directory = tempfile::tempdir().unwrap();
    let path = path(&directory.path().join("lock"), &SourcePlan::Directory("m".into()));
    let (to, successors) = successors();
    let socket = HandoverSocket::listen(&path, anchors, node).unwrap();
    tokio::spawn(socket.serve(to));
    (directory, path, successors)
}

#[tokio::test]
async fn what_is_asked_for_is_given_and_taken() {
    let (_directory, path, mut successors) = served(AnchorSet::Second);
    let mut predecessor = Predecessor::ask(&path, None).await.unwrap();
    assert_eq!(predecessor.anchors(), AnchorSet::Second);
    let old = tokio::spawn(async move {
        let mut successor = successors.recv().await.unwrap();
        successor.given().await
    });
    predecessor.give().await.unwrap();
    predecessor.taken().await;
    assert!(matches!(old.await.unwrap(), Heard::Taken));
}

#[tokio::test]
async fn one_successor_is_served_and_the_next_when_it_has_gone() {
    let (_directory, path, mut successors) = served(AnchorSet::First);
    let first = Predecessor::ask(&path, None).await.unwrap();
    assert!(matches!(Predecessor::ask(&path, None).await, Err(HandoverError::Busy)));
    drop(first);
    let next = async {
        loop {
            match Predecessor::ask(&path, None).await {
                Err(HandoverError::Busy) => tokio::task::yield_now().await,
                other => return other,
            }
        }
    };
    let mut next = tokio::time::timeout(ANSWER, next).await.unwrap().unwrap();
    assert!(successors.try_recv().is_err(), "nobody said give");
    next.wire_say(GIVE).await;
    assert!(successors.recv().await.is_some());
}

#[tokio::test]
async fn a_successor_that_dies_is_heard_of() {
    let (_directory, path, mut successors) = served(AnchorSet::First);
    let mut predecessor = Predecessor::ask(&path, None).await.unwrap();
    predecessor.wire_say(GIVE).await;
    let mut successor = successors.recv().await.unwrap();
    drop(predecessor);
    assert!(matches!(successor.given().await, Heard::Nothing(_)));
}

#[tokio::test]
async fn a_predecessor_that_ends_is_heard_of() {
    let (_directory, path, mut successors) = served(AnchorSet::First);
    let mut predecessor = Predecessor::ask(&path, None).await.unwrap();
    let ends = async { drop(successors.recv().await) };
    let (given, ()) = tokio::join!(predecessor.give(), ends);
    assert!(matches!(given, Err(HandoverError::Broken(_))), "{given:?}");
    predecessor.gone().await;
}

#[tokio::test]
async fn other_words_are_no_greeting() {
    let (_directory, path, mut successors) = served(AnchorSet::First);
    for words in ["give\n", "lockgate hand-over 2\n", "x\n"] {
        let mut stream = UnixStream::connect(&path).await.unwrap();
        stream.write_all(words.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer).await.unwrap();
        assert_eq!(answer, "");
    }
    assert!(successors.try_recv().is_err());
}

#[tokio::test]
async fn an_agent_of_a_cluster_takes_nothing_from_one_of_a_directory() {
    let (directory, own, _successors) = served(AnchorSet::First);
    let raw = Raw {
        node: Some("a".into()),
        cluster: RawCluster { in_cluster: Some(true), ..RawCluster::default() },
        ..Raw::default()
    };
    let cluster = Settings::new(raw, &Machine { cores: vec![0] }).unwrap().source;
    let other = path(&directory.path().join("lock"), &cluster);
    let error = Predecessor::ask(&other, Some("a")).await.unwrap_err().to_string();
    assert!(error.contains("already running") && error.contains("of a cluster"), "{error}");
    assert!(Predecessor::ask(&own, None).await.is_ok());
}

#[tokio::test]
async fn an_agent_of_another_node_takes_nothing_over_and_says_both_names() {
    let long = format!("{}.{}", "a".repeat(63), "b".repeat(189));
    for node in ["here", &long] {
        let (_directory, path, mut successors) = served_on(AnchorSet::Second, Some(node));
        let error = Predecessor::ask(&path, Some("there")).await.unwrap_err().to_string();
        let wanted = format!("is of node {node}, and this one of there");
        assert!(error.contains(&wanted) && error.contains("the setting node"), "{error}");
        assert!(successors.try_recv().is_err(), "nobody said give");
        let predecessor = loop {
            match Predecessor::ask(&path, Some(node)).await {
                Err(HandoverError::Busy) => tokio::task::yield_now().await,
                asked => break asked.unwrap(),
            }
        };
        assert_eq!(predecessor.anchors(), AnchorSet::Second);
    }
}

#[test]
fn an_older_agent_names_no_node_and_is_upgraded_and_one_of_a_directory_never_does() {
    assert_eq!(anchors("ready x", Some("here")).unwrap(), AnchorSet::Second);
    for (line, node) in [("ready w here", None), ("ready y", None), ("ready", Some("here"))] {
        assert!(matches!(anchors(line, node), Err(HandoverError::Strange(_))), "{line}");
    }
}

#[tokio::test]
async fn nobody_there_says_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let error =
        Predecessor::ask(&directory.path().join("none"), None).await.unwrap_err().to_string();
    assert!(error.contains("stop it first, or start this one without --take-over"), "{error}");
}
