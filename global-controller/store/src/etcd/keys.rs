//! Where our keys lie in an etcd that others may use too.

/// Beside the leader's key, so that no page and no watch of ours shows that one.
const DATA: &str = "keys/";
const LEADER: &str = "leader";

/// Names our keys as the etcd knows them.
#[derive(Debug)]
pub(super) struct Keys {
    data: String,
    leader: String,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        Self { data: format!("{prefix}{DATA}"), leader: format!("{prefix}{LEADER}") }
    }

    /// The leader's key.
    pub(super) fn leader(&self) -> &str {
        &self.leader
    }

    /// The etcd's name of a key or prefix of ours.
    pub(super) fn outer(&self, key: &str) -> String {
        format!("{}{key}", self.data)
    }

    /// Our name of a key of the etcd; `None` for what isn't ours, which is any key that is no text.
    pub(super) fn inner(&self, key: &[u8]) -> Option<String> {
        let key = std::str::from_utf8(key).ok()?.strip_prefix(&self.data)?;
        Some(key.to_owned())
    }

    /// The bounds, the first included and the second not, of the keys under `prefix` after the key `after`.
    pub(super) fn bounds(&self, prefix: &str, after: Option<&str>) -> (Vec<u8>, Vec<u8>) {
        let start = self.outer(prefix);
        let mut end = start.clone().into_bytes();
        // Text has no byte 0xff, and a last slash at the least is there: there is always a next prefix.
        if let Some(last) = end.last_mut() {
            *last += 1;
        }
        let start = match after {
            // The next possible key is the same one with a zero byte behind it.
            Some(after) if after >= prefix => format!("{}\0", self.outer(after)),
            _ => start,
        };
        // Beyond its end a range is empty, and some versions refuse one that is upside down.
        (start.into_bytes().min(end.clone()), end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_keep_their_names_and_the_leader_is_none_of_them() {
        let keys = Keys::new("/p/");
        assert_eq!(keys.outer("a/b"), "/p/keys/a/b");
        assert_eq!(keys.inner(b"/p/keys/a/b").as_deref(), Some("a/b"));
        assert_eq!(keys.inner(b"/p/leader"), None);
        assert_eq!(keys.inner(b"/p/keys/\xff"), None);
    }

    #[test]
    fn bounds_reach_from_behind_the_given_key_to_the_end_of_the_prefix() {
        let keys = Keys::new("/p/");
        let text = |(start, end): (Vec<u8>, Vec<u8>)| {
            (String::from_utf8_lossy(&start).into_owned(), String::from_utf8_lossy(&end).into_owned())
        };
        assert_eq!(text(keys.bounds("", None)), ("/p/keys/".into(), "/p/keys0".into()));
        assert_eq!(text(keys.bounds("a/", Some("a/b"))), ("/p/keys/a/b\0".into(), "/p/keys/a0".into()));
        assert_eq!(text(keys.bounds("b/", Some("a"))), ("/p/keys/b/".into(), "/p/keys/b0".into()));
        assert_eq!(text(keys.bounds("a/", Some("z"))), ("/p/keys/a0".into(), "/p/keys/a0".into()));
    }
}
