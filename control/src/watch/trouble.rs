//! What goes wrong with the API server, in words that say what to do.

use std::time::Duration;

use kube::Error;
use kube::client::AuthError;

use super::Resource;
use super::gate::Silence;

/// Something that went wrong, and is tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

const NOT_FOUND: u16 = 404;
const EXPIRED: u16 = 410;

/// Whether the API server says that it has no such thing.
pub(super) fn is_not_found(error: &Error) -> bool {
    code(error) == Some(NOT_FOUND)
}

/// Whether the API server no longer knows what has changed since a version.
pub(super) fn is_expired(error: &Error) -> bool {
    code(error) == Some(EXPIRED)
}

fn code(error: &Error) -> Option<u16> {
    match error {
        Error::Api(status) => Some(status.code),
        _ => None,
    }
}

impl Trouble {
    /// Nothing comes where an answer must.
    pub(super) fn hangs(resource: &Resource, what: &str, limit: Duration) -> Self {
        let causes = format!("no answer to its {what} in {} s", limit.as_secs());
        Self::silent(resource, &causes)
    }

    /// A watch that ended as soon as it had begun.
    fn early(resource: &Resource, after: Duration) -> Self {
        Self {
            message: format!(
                "{} cannot be watched: the watch ended after {} ms",
                resource.spoken(),
                after.as_millis()
            ),
            remedy: "nothing to do if it passes; else see what stands before the API server, and \
                     what cuts its connections"
                .to_owned(),
        }
    }

    /// A list, or an object, that does not say of when it is.
    pub(super) fn unversioned(resource: &Resource) -> Self {
        Self {
            message: format!("{} cannot be watched", resource.spoken()),
            remedy: "see the API server's log: what it tells has no metadata.resourceVersion"
                .to_owned(),
        }
    }

    /// The API server's store was restored from a backup.
    pub(super) fn restored(resource: &Resource) -> Self {
        Self {
            message: format!(
                "{} are read anew: the API server's versions went back, as after a restore",
                resource.spoken()
            ),
            remedy: "nothing to do: what was last read stays until the list is read".to_owned(),
        }
    }

    /// Something else than what was asked for.
    pub(super) fn another(resource: &Resource, said: &str) -> Self {
        Self {
            message: format!(
                "{} cannot be read: what came says that it is {said}",
                resource.spoken()
            ),
            remedy: "see what stands before the API server: it answers in its place".to_owned(),
        }
    }

    /// What a request says.
    pub(super) fn of(resource: &Resource, error: &Error) -> Self {
        match error {
            Error::Api(status) => Self::answered(resource, status.code, &status.message),
            Error::Service(_) if let Some(Silence::Early(after)) = Silence::of(error) => {
                Self::early(resource, *after)
            }
            Error::Service(_) if let Some(Silence::Another(said)) = Silence::of(error) => {
                Self::another(resource, said)
            }
            _ => Self::silent(resource, &spoken(error)),
        }
    }

    fn answered(resource: &Resource, code: u16, message: &str) -> Self {
        let name = resource.spoken();
        let remedy = match code {
            401 => "renew the token or certificate of the kubeconfig or service account: the API \
                    server does not know it, or it has expired; the file of a token is read \
                    again within a minute, for all else start the agent anew"
                .to_owned(),
            403 => format!(
                "let the agent's role list and watch {name}: nothing is enforced of what cannot be \
                 read"
            ),
            404 => "see what stands before the API server: it answers in its place; a resource is \
                    absent only where the lists of groups and of resources, /apis and below, say so"
                .to_owned(),
            410 => "nothing to do: the list is read anew".to_owned(),
            429 | 500..=599 => {
                "nothing to do if it passes; else see the API server's log".to_owned()
            }
            _ => "see the API server's log".to_owned(),
        };
        let message = format!("{name} cannot be read: the API server says {code}: {message}");
        Self { message, remedy }
    }

    fn silent(resource: &Resource, causes: &str) -> Self {
        let lower = causes.to_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
        let remedy = if says(&["unknownissuer", "certificate"]) {
            "name the CA that signed the API server's certificate: certificate-authority of the \
             kubeconfig, or ca.crt of the service account; then start the agent anew"
        } else if says(&["token", "exec plugin", "auth"]) {
            "mend the credentials that the kubeconfig names"
        } else {
            "the last good tables stay in force; see that the API server runs and can be reached \
             from this node"
        };
        let message = format!("{} cannot be read: {causes}", resource.spoken());
        Self { message, remedy: remedy.to_owned() }
    }
}

/// What a client says, less what a program has printed that was to give credentials: they may be in
/// it, and this is logged and shown.
pub(super) fn spoken(error: &Error) -> String {
    match error {
        Error::Auth(AuthError::AuthExecParse(_)) => {
            "what the exec plugin of the kubeconfig printed is no ExecCredential".to_owned()
        }
        Error::Auth(AuthError::AuthExecRun { cmd, out }) => {
            let name = program(cmd);
            format!("the exec plugin {name} of the kubeconfig failed ({})", out.status)
        }
        _ => causes(error),
    }
}

/// The name of the program in a command as kube shows it, `NAME="value" "/bin/give" "argument"`
/// or `env -u OTHER NAME="value" "/bin/give"`: tokens may be in its environment and its arguments.
fn program(command: &str) -> String {
    let mut rest = command.trim_start();
    let mut is_name_next = false;
    loop {
        // A word ends at a space that is not quoted.
        let (mut is_quoted, mut is_escaped) = (false, false);
        let end = rest.find(|letter: char| {
            let was_escaped = std::mem::take(&mut is_escaped);
            match letter {
                '"' if !was_escaped => is_quoted = !is_quoted,
                '\\' if is_quoted && !was_escaped => is_escaped = true,
                letter => return letter == ' ' && !is_quoted,
            }
            false
        });
        let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
        let is_before = is_name_next || word == "env" || word == "-u" || word.contains('=');
        is_name_next = word == "-u";
        if word.starts_with('"') || !is_before || after.is_empty() {
            let path = word.trim_matches('"');
            return path.rsplit('/').next().unwrap_or_default().to_owned();
        }
        rest = after.trim_start();
    }
}

/// An error with all that caused it, each said once, without the passwords of URLs.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let all = std::iter::successors(Some(error), |&one| one.source());
    let mut text = String::new();
    for cause in all.map(ToString::to_string) {
        if !text.contains(&cause) {
            let joint = if text.is_empty() { "" } else { ": " };
            text = format!("{text}{joint}{cause}");
        }
    }
    without_users(&text)
}

/// A text whose URLs name neither users nor passwords: those of a proxy are secrets.
pub(crate) fn without_users(text: &str) -> String {
    let mut hidden = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        hidden.push_str(before);
        hidden.push_str("://");
        let ends = |letter: char| "/?#\"'`<>".contains(letter) || letter.is_whitespace();
        let (authority, _) = after.split_at(after.find(ends).unwrap_or(after.len()));
        rest = match authority.rfind('@') {
            Some(at) => {
                hidden.push_str("(hidden)");
                after.split_at(at).1
            }
            None => after,
        };
    }
    hidden + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::RESOURCES;
    use kube::core::Status;

    fn told(code: u16) -> Trouble {
        let status = Status { code, message: "no".to_owned(), ..Status::default() };
        Trouble::of(&RESOURCES[1], &Error::Api(Box::new(status)))
    }

    #[test]
    fn a_kind_that_may_not_be_read_is_named_with_what_its_role_lacks() {
        let trouble = told(403);
        assert_eq!(trouble.message, "pods cannot be read: the API server says 403: no");
        assert!(trouble.remedy.contains("list and watch pods"), "{}", trouble.remedy);
        let renewed = told(401).remedy;
        assert!(
            renewed.contains("expired") && renewed.contains("start the agent anew"),
            "{renewed}"
        );
    }

    #[test]
    fn a_silent_server_leaves_the_tables_and_an_unknown_ca_is_told_as_such() {
        let refused = Error::Service("connection refused".into());
        let trouble = Trouble::of(&RESOURCES[1], &refused);
        assert!(trouble.remedy.contains("stay in force"), "{}", trouble.remedy);
        let unknown = Error::Service("invalid peer certificate: UnknownIssuer".into());
        let trouble = Trouble::of(&RESOURCES[1], &unknown);
        assert!(trouble.remedy.contains("CA that signed"), "{}", trouble.remedy);
        assert!(trouble.remedy.contains("start the agent anew"), "{}", trouble.remedy);
    }

    #[test]
    fn of_an_exec_plugin_only_the_name_of_its_program_is_told() {
        use std::process::Command;
        for (path, name) in [("/opt/my bin/give-token", "give-token"), ("a=b", "a=b")] {
            let mut command = Command::new(path);
            command.env("TOKEN", "s3 cr\\\"3t").args(["--secret", "s3cr3t"]);
            // As kube makes the text.
            assert_eq!(program(&format!("{command:?}")), name, "{command:?}");
            command.env_remove("OTHER");
            assert_eq!(program(&format!("{command:?}")), name, "{command:?}");
        }
        assert_eq!(program("TOKEN=s3cr3t give-token --secret s3cr3t"), "give-token");
        assert_eq!(program(""), "");
    }

    #[test]
    fn a_url_is_told_without_its_user_and_password() {
        for (text, hidden) in [
            ("by http://me:s3cr3t@proxy:3128/ and on", "by http://(hidden)@proxy:3128/ and on"),
            ("socks5://me:s3@cr3t@proxy, a@b", "socks5://(hidden)@proxy, a@b"),
            ("\"https://a:1/b@c\" http://x@y", "\"https://a:1/b@c\" http://(hidden)@y"),
            ("no URL: a@b ://", "no URL: a@b ://"),
        ] {
            assert_eq!(without_users(text), hidden);
        }
        let error = std::io::Error::other("no proxy at http://me:s3cr3t@proxy");
        assert!(!causes(&error).contains("s3cr3t"));
    }

    #[test]
    fn what_a_plugin_printed_that_gives_credentials_is_not_told() {
        use std::os::unix::process::ExitStatusExt;
        let status = std::process::ExitStatus::from_raw(256);
        let out = std::process::Output { status, stdout: b"s3cr3t".to_vec(), stderr: Vec::new() };
        let cmd = "give-token".to_owned();
        let failed = AuthError::AuthExecRun { cmd, out: Box::new(out) };
        let trouble = Trouble::of(&RESOURCES[1], &Error::Auth(failed));
        // As text and as the numbers that bytes are shown by.
        let hides = |text: &str| !text.contains("s3cr3t") && !text.contains("115, 51");
        assert!(hides(&trouble.message) && trouble.message.contains("give-token"), "{trouble:?}");
        assert!(trouble.remedy.contains("credentials"), "{trouble:?}");
    }
}
