//! Why a pod is not attached, and what to do about it.

use super::{Attach, Dataplane, Refusal, Sync, TRY_AGAIN, key, refusal, spoken};

/// Whether a pod would be attached now.
pub(super) fn ready<D: Dataplane>(sync: &mut Sync<D>) -> Result<(), Refusal> {
    if sync.is_ready() {
        return Ok(());
    }
    let message = match sync.unread() {
        Some(unread) => format!("the cluster's {unread} were not read yet"),
        None => "no snapshot is in force yet".to_owned(),
    };
    // What STATUS says of it, 50, is the plugin's to say.
    Err(refusal(TRY_AGAIN, &message, "wait; /readyz of the agent says what it waits for"))
}

/// Why a pod is not attached, and what to do.
pub(super) fn why<D: Dataplane>(
    attach: &Attach,
    is_placed: bool,
    sync: &mut Sync<D>,
) -> (String, String) {
    if is_placed {
        let message = "a worker does not use the snapshot that the pod is in".to_owned();
        return (message, "see lockgate_worker_turns_total; restart the switch".to_owned());
    }
    if let Some(unread) = sync.unread() {
        let message = format!("the cluster's {unread} were not read yet");
        return (message, "see /readyz of the agent; nothing is attached before".to_owned());
    }
    if !sync.knows_pod(&key(attach), attach.uid.as_deref().unwrap_or_default()) {
        return why_unknown(attach, sync);
    }
    match sync.ports().refusal(attach.interface.as_str()) {
        Some(problem) => (problem.message.clone(), problem.remedy.clone()),
        None => ("the switch has not given it a port yet".to_owned(), "wait".to_owned()),
    }
}

/// Why the pod is none that the API server has told of.
fn why_unknown<D: Dataplane>(attach: &Attach, sync: &Sync<D>) -> (String, String) {
    let known = sync.source().inventory().pod(&attach.namespace, &attach.pod);
    let other = known.and_then(|pod| pod.metadata.uid.as_ref()).map(ToString::to_string);
    match (other, &attach.uid) {
        (Some(told), Some(uid)) if told != *uid => {
            let message = format!(
                "the runtime means pod {} of the UID {uid}, and the API server tells of one of the \
                 UID {told}",
                spoken(attach)
            );
            let remedy = "see that K8S_POD_UID in CNI_ARGS is the pod's; of a pod that was made \
                          anew under its name the runtime tries the newer one soon";
            (message, remedy.to_owned())
        }
        _ => {
            let message =
                format!("the API server has not told of pod {} on this node", spoken(attach));
            let remedy = format!(
                "see by `kubectl get pod -n {} {} -o wide` that it is there and of this node, and \
                 that the agent's --node is what this node is called",
                attach.namespace, attach.pod
            );
            (message, remedy)
        }
    }
}
