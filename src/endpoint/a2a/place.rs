//! What the path of a URL means.
//!
//! Empty steps do not count, so that `/a2a/orders`, `/a2a/orders/` and `/a2a//orders` are the same.

use crate::protocol::Domain;

/// Steps of a path that are looked at.
const MOST_STEPS: usize = 8;

/// A place of this endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The agent it is about: its domain, where that is said, and its name.
    pub(super) agent: Option<(Option<Domain>, String)>,
    /// What is there.
    pub wanted: Wanted,
}

/// What is at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// JSON-RPC; of no agent it is the list of agents too.
    Root,
    /// The card, by the name of its version.
    Card {
        /// Whether it is that of 0.3, whatever the client says.
        old: bool,
    },
    /// An operation of HTTP+JSON: the steps behind the agent.
    Rest(Vec<String>),
}

impl Place {
    /// The place of a path that begins with `/a2a`; nothing where there is none.
    #[must_use]
    pub fn read(path: &str, is_local: impl Fn(&Domain) -> bool) -> Option<Self> {
        let rest = path.strip_prefix("/a2a")?;
        let steps: Option<Vec<String>> = rest
            .split('/')
            .filter(|step| !step.is_empty())
            .map(decoded)
            .collect();
        let steps = steps.filter(|steps| steps.len() <= MOST_STEPS)?;
        let mut steps = steps.as_slice();
        let [first, behind @ ..] = steps else {
            return Some(Self {
                agent: None,
                wanted: Wanted::Root,
            });
        };
        let domain = Domain::parse(first).ok().filter(is_local);
        let name = match (&domain, behind) {
            (Some(_), [name, rest @ ..]) => {
                steps = rest;
                name
            }
            (Some(_), []) => return None,
            (None, _) => {
                steps = behind;
                first
            }
        };
        Some(Self {
            agent: Some((domain, name.clone())),
            wanted: wanted(steps),
        })
    }
}

fn wanted(steps: &[String]) -> Wanted {
    let names: Vec<&str> = steps.iter().map(String::as_str).collect();
    match names[..] {
        [] => Wanted::Root,
        [".well-known", "agent-card.json"] => Wanted::Card { old: false },
        [".well-known", "agent.json"] => Wanted::Card { old: true },
        _ => Wanted::Rest(steps.to_vec()),
    }
}

/// A step without its percent signs.
fn decoded(step: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(step.len());
    let mut rest = step.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next()?, rest.next()?];
        let digits = std::str::from_utf8(&digits).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str) -> Option<Place> {
        Place::read(path, |domain| domain.as_str() == "b.test")
    }

    fn place(domain: Option<&str>, name: &str, wanted: Wanted) -> Option<Place> {
        Some(Place {
            agent: Some((
                domain.map(|domain| Domain::parse(domain).unwrap()),
                name.to_owned(),
            )),
            wanted,
        })
    }

    fn rest(steps: &[&str]) -> Wanted {
        Wanted::Rest(steps.iter().map(|step| (*step).to_owned()).collect())
    }

    #[test]
    fn paths_mean_places() {
        let root = Some(Place {
            agent: None,
            wanted: Wanted::Root,
        });
        for (path, expected) in [
            ("/a2a", root.clone()),
            ("/a2a/", root),
            ("/a2a/orders", place(None, "orders", Wanted::Root)),
            ("/a2a//orders//", place(None, "orders", Wanted::Root)),
            (
                "/a2a/orders/.well-known/agent-card.json",
                place(None, "orders", Wanted::Card { old: false }),
            ),
            (
                "/a2a/b.test/orders/.well-known/agent.json",
                place(Some("b.test"), "orders", Wanted::Card { old: true }),
            ),
            (
                "/a2a/c.test/message:send",
                place(None, "c.test", rest(&["message:send"])),
            ),
            (
                "/a2a/orders/tasks/1%3Acancel",
                place(None, "orders", rest(&["tasks", "1:cancel"])),
            ),
            (
                "/a2a/orders/tasks/a%2Fb",
                place(None, "orders", rest(&["tasks", "a/b"])),
            ),
            ("/a2a/b.test", None),
            ("/a2a/%F", None),
            ("/a2a/%FF", None),
            ("/a2a/1/2/3/4/5/6/7/8/9", None),
            ("/other", None),
        ] {
            assert_eq!(read(path), expected, "{path}");
        }
    }
}
