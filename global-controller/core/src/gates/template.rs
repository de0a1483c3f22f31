//! Queries with placeholders.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use super::as_text::as_text;

/// Stands for what names the member in a query that is about any of several. No placeholder: it is never filled in.
pub const MEMBER_MARK: &str = "{{member}}";

/// A query, with everything filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// As it is asked.
    pub text: String,
    /// The member that it is about, if one thing alone names it.
    pub about: Option<About>,
}

/// What tells the queries about several members apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// The query with [`MEMBER_MARK`] for what names the member: the same for all that differ in nothing else.
    pub marked: String,
    /// What names the member: its own name, or the value of one of its labels.
    pub value: String,
}

/// PromQL with placeholders, each `{{name}}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// As it was written; equal texts are equal templates.
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Cluster,
    Namespace,
    Workload,
    Revision,
    Label(String),
    Window,
}

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TemplateError {
    /// An unknown placeholder.
    Unknown(String),
    /// `{{` without `}}`.
    Open,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(name) => write!(
                f,
                "{{{{{name}}}}} is no placeholder: must be {{{{cluster}}}}, {{{{namespace}}}}, {{{{workload}}}}, {{{{revision}}}}, {{{{labels.KEY}}}} or {{{{window}}}}"
            ),
            Self::Open => f.write_str("{{ must be followed by }}"),
        }
    }
}

impl std::error::Error for TemplateError {}

/// What placeholders stand for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Values<'a> {
    pub cluster: &'a str,
    pub namespace: &'a str,
    pub workload: &'a str,
    pub revision: &'a str,
    pub labels: &'a BTreeMap<String, String>,
    pub window_seconds: i64,
}

impl std::str::FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (name, after) = after.split_once("}}").ok_or(TemplateError::Open)?;
            parts.push(Part::Text(before.to_owned()));
            parts.push(Part::parse(name.trim())?);
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Self { text: text.to_owned(), parts })
    }
}

impl Part {
    fn parse(name: &str) -> Result<Self, TemplateError> {
        match name {
            "cluster" => return Ok(Self::Cluster),
            "namespace" => return Ok(Self::Namespace),
            "workload" => return Ok(Self::Workload),
            "revision" => return Ok(Self::Revision),
            "window" => return Ok(Self::Window),
            _ => {}
        }
        let key = name.strip_prefix("labels.").filter(|key| !key.is_empty());
        key.map(|key| Self::Label(key.to_owned())).ok_or_else(|| TemplateError::Unknown(name.to_owned()))
    }

    fn names_member(&self) -> bool {
        matches!(self, Self::Cluster | Self::Label(_))
    }

    /// What it stands for, if that is a name.
    fn of<'v>(&self, values: Values<'v>) -> Option<&'v str> {
        match self {
            Self::Cluster => Some(values.cluster),
            Self::Namespace => Some(values.namespace),
            Self::Workload => Some(values.workload),
            Self::Revision => Some(values.revision),
            Self::Label(key) => values.labels.get(key).map(String::as_str),
            Self::Text(_) | Self::Window => None,
        }
    }
}

impl Template {
    /// One of our own, in which all placeholders are known: what is none would be asked as it stands.
    pub(super) fn known(text: &str) -> Self {
        let whole = || Self { text: text.to_owned(), parts: vec![Part::Text(text.to_owned())] };
        text.parse().unwrap_or_else(|_| whole())
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it asks about one member.
    pub fn names_member(&self) -> bool {
        self.parts.iter().any(Part::names_member)
    }

    /// Whether its counts can be told apart by member and by time, and don't depend on what runs: as a comparison needs.
    pub fn is_comparable(&self) -> bool {
        let names = |part: &Part| self.parts.contains(part);
        self.names_member() && names(&Part::Window) && !self.names_revision()
    }

    /// Whether it asks about one revision.
    pub fn names_revision(&self) -> bool {
        self.parts.contains(&Part::Revision)
    }

    /// The query, as it is asked of a member that doesn't exist: for a look at its syntax.
    pub fn sample(&self) -> String {
        let labels = BTreeMap::new();
        let (cluster, namespace, workload, revision) = ("cluster", "namespace", "workload", "revision");
        self.write(Values { cluster, namespace, workload, revision, labels: &labels, window_seconds: 60 }, false)
    }

    /// The query, with everything filled in. A label that the member doesn't have is empty.
    pub(super) fn fill(&self, values: Values<'_>) -> Query {
        let about = self.names().map(|names| About {
            marked: self.write(values, true),
            value: names.of(values).map_or_else(String::new, str::to_owned),
        });
        Query { text: self.write(values, false), about }
    }

    /// The placeholder that names the member, if there is no other one.
    fn names(&self) -> Option<&Part> {
        let mut names = self.parts.iter().filter(|part| part.names_member());
        let first = names.next()?;
        names.all(|other| other == first).then_some(first)
    }

    fn write(&self, values: Values<'_>, marked: bool) -> String {
        let mut query = String::with_capacity(self.text.len());
        for part in &self.parts {
            match part {
                Part::Text(text) => query.push_str(text),
                Part::Window => {
                    let _ = write!(query, "{}s", values.window_seconds.max(1));
                }
                part if marked && part.names_member() => query.push_str(MEMBER_MARK),
                part => push_escaped(&mut query, part.of(values).unwrap_or_default()),
            }
        }
        query
    }
}

/// As between quotes in PromQL, so that no value ends the string that it stands in.
fn push_escaped(query: &mut String, value: &str) {
    for char in value.chars() {
        match char {
            '\\' | '"' | '\'' => query.extend(['\\', char]),
            '\n' => query.push_str("\\n"),
            // It can't be escaped where it ends a raw string.
            '`' => query.push_str("\\x60"),
            _ => query.push(char),
        }
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

as_text!(Template);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn fill(text: &str) -> String {
        let labels = BTreeMap::from([("zone".to_owned(), "a\"b\\c`".to_owned())]);
        let values = Values {
            cluster: "m1",
            namespace: "shop",
            workload: "checkout",
            revision: "1f2e",
            labels: &labels,
            window_seconds: 90,
        };
        text.parse::<Template>().unwrap().fill(values).text
    }

    #[test]
    fn queries_that_differ_in_the_member_alone_are_alike_but_for_its_name() {
        let labels = BTreeMap::from([("zone".to_owned(), "east".to_owned())]);
        let of = |text: &str, cluster: &str| {
            let (namespace, workload, revision) = ("shop", "checkout", "1f2e");
            let values = Values { cluster, namespace, workload, revision, labels: &labels, window_seconds: 9 };
            text.parse::<Template>().unwrap().fill(values).about
        };
        let about = |marked: &str, value: &str| Some(About { marked: marked.to_owned(), value: value.to_owned() });
        let text = r#"n{c="{{cluster}}",ns="{{namespace}}"}[{{window}}] / m{c="{{ cluster }}"}"#;
        let marked = r#"n{c="{{member}}",ns="shop"}[9s] / m{c="{{member}}"}"#;
        assert_eq!(of(text, "m1"), about(marked, "m1"));
        assert_eq!(of(text, "m2"), about(marked, "m2"));
        assert_eq!(of(r#"n{z="{{labels.zone}}"}"#, "m1"), about(r#"n{z="{{member}}"}"#, "east"));
        assert_eq!(of(r#"n{c="{{cluster}}",z="{{labels.zone}}"}"#, "m1"), None, "two things name it");
        assert_eq!(of("up[{{window}}]", "m1"), None, "it is about none");
    }

    #[test]
    fn semantics_25_placeholders_are_filled_in_and_escaped() {
        let text =
            r#"sum(increase(n{c="{{cluster}}",ns="{{ namespace }}",w="{{workload}}",r="{{revision}}"}[{{window}}]))"#;
        assert_eq!(fill(text), r#"sum(increase(n{c="m1",ns="shop",w="checkout",r="1f2e"}[90s]))"#);
        assert_eq!(fill(r#"n{z="{{labels.zone}}"}"#), r#"n{z="a\"b\\c\x60"}"#);
        assert_eq!(fill(r#"n{z="{{labels.none}}"}"#), r#"n{z=""}"#);
        assert_eq!(fill("up"), "up");
    }

    #[test]
    fn semantics_25_unknown_placeholders_are_refused() {
        for (text, why) in [
            ("{{cluter}}", "{{cluter}} is no placeholder"),
            ("{{labels.}}", "is no placeholder"),
            ("n{{cluster", "followed by }}"),
        ] {
            let error = text.parse::<Template>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn semantics_23_a_query_is_per_member_if_it_names_one() {
        for (text, named) in
            [("up{c=\"{{cluster}}\"}", true), ("up{z=\"{{labels.z}}\"}", true), ("up[{{window}}]", false)]
        {
            assert_eq!(text.parse::<Template>().unwrap().names_member(), named, "{text}");
        }
    }
}
