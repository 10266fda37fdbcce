//! The `_amtp` record of a domain: what stands there, and what is wrong with it. AMTP 1.0, section 3.2.1.

use std::time::Duration;

use super::report::Check;
use crate::net::{DnsFault, Texts};
use crate::protocol::Advertisement;
use crate::protocol::advertisement::AdvertisementFault;

const NAME: &str = "record";
const TTL: &str = "record-ttl";
/// Bytes of a record that gateways look at.
const LONGEST: usize = 4_096;
/// Bytes of one string.
const STRING: usize = 255;
/// Gateways keep a record no shorter and no longer.
const SHORTEST_TTL: Duration = Duration::from_secs(30);
const LONGEST_TTL: Duration = Duration::from_secs(86_400);
/// Hardly a message fits into less.
const SMALL: u64 = 65_536;

/// What was found, and the gateways it names.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) checks: Vec<Check>,
    pub(super) gateways: Vec<Advertisement>,
}

/// Judges the answer to a question for the TXT records of `name`; `proposal` is a record to publish.
pub(super) fn judge(name: &str, proposal: &str, answer: &Result<Texts, DnsFault>) -> Found {
    let mut found = Found::default();
    let publish = format!("publish in DNS: {name}. 3600 IN TXT \"{proposal}\"");
    match answer {
        Err(fault @ DnsFault::Failed(_)) => {
            let text = format!("{name}: {fault}");
            let fix = "nobody can find the gateway while this lasts: look at the zone's name servers, or ask another server with --dns";
            found.checks.push(Check::fault(NAME, text, fix));
        }
        Err(DnsFault::Nothing { .. }) => {
            let text = format!("{name} has no TXT record");
            found.checks.push(Check::fault(NAME, text, publish));
        }
        Ok(texts) => {
            found.at_records(name, texts);
            if found.gateways.is_empty() {
                let text = format!("{name} has no valid record");
                found.checks.push(Check::fault(NAME, text, publish));
            }
            found.checks.push(judge_ttl(name, texts));
        }
    }
    found
}

impl Found {
    fn at_records(&mut self, name: &str, texts: &Texts) {
        let mut wrong = Vec::new();
        for strings in &texts.records {
            match read(strings) {
                Ok(valid) => self.at_valid(valid, strings),
                Err((what, fix)) => {
                    let text = format!("{what}: {}", written(strings));
                    wrong.push((text, fix));
                }
            }
        }
        if self.gateways.len() > 1 {
            let number = self.gateways.len();
            let text =
                format!("{name} names {number} gateways; senders begin with any one of them");
            self.checks.push(Check::ok(NAME, text));
        }
        // Beside a valid record the others do no harm.
        let grade = if self.gateways.is_empty() {
            Check::fault
        } else {
            Check::warning
        };
        let wrong = wrong.into_iter();
        self.checks
            .extend(wrong.map(|(text, fix)| grade(NAME, text, fix)));
    }

    fn at_valid(&mut self, valid: Advertisement, strings: &[Vec<u8>]) {
        if self.gateways.contains(&valid) {
            let text = format!("the record stands twice: {valid}");
            let check = Check::warning(NAME, text, "remove one of them");
            return self.checks.push(check);
        }
        self.checks
            .push(Check::ok(NAME, format!("valid: {}", written(strings))));
        self.checks.extend(doubts(&valid, strings));
        self.gateways.push(valid);
    }
}

/// A record, or what is wrong with it and how to mend it.
fn read(strings: &[Vec<u8>]) -> Result<Advertisement, (&'static str, &'static str)> {
    let length: usize = strings.iter().map(Vec::len).sum();
    if length > LONGEST {
        let what = "the record is longer than 4096 bytes and is passed over";
        return Err((what, "shorten it"));
    }
    Advertisement::parse_strings(strings).map_err(|fault| match fault {
        AdvertisementFault::Encoding => (
            "the record has characters outside printable ASCII",
            "write the host in its xn-- form, and no line ends or typographic quotes",
        ),
        AdvertisementFault::Version if is_meant(strings) => (
            "the record does not say v=amtp1",
            "begin it with v=amtp1; in lower case, with nothing but a semicolon after it",
        ),
        AdvertisementFault::Version => (
            "a record about something else",
            "keep this name for the AMTP record; a wildcard record may be the cause",
        ),
        AdvertisementFault::Gateway => (
            "the gateway is not an absolute https URL",
            "write gateway=https://HOST, or https://HOST:PORT/PATH: no http, no user, no ? and no #",
        ),
        AdvertisementFault::MaxSize => (
            "max-size is not a number",
            "write a number of bytes without a unit, such as max-size=10485760",
        ),
        AdvertisementFault::Duplicate => ("a key stands twice", "keep one of the two"),
    })
}

/// What makes a valid record work worse than it could.
fn doubts(valid: &Advertisement, strings: &[Vec<u8>]) -> Vec<Check> {
    let length: usize = strings.iter().map(Vec::len).sum();
    let mut doubts = Vec::new();
    let mut doubt = |text: String, fix: &str| doubts.push(Check::warning(NAME, text, fix));
    if length > STRING {
        let text = format!("the record is {length} bytes, more than one string of 255 holds");
        doubt(
            text,
            "shorten it below 256: some gateways read the first string only",
        );
    } else if strings.len() > 1 {
        let text = format!("the record is split into {} strings", strings.len());
        doubt(
            text,
            "write it as one string: some gateways read the first one only",
        );
    }
    if strings.first().is_some_and(|one| one.starts_with(b"\"")) {
        let text = "the record has quotes inside".to_owned();
        doubt(text, "take the inner quotes away; not every gateway does");
    }
    if valid.gateway.host_ip().is_some() {
        let text = format!("the gateway is an address: {}", valid.gateway.host());
        doubt(
            text,
            "give it a name: its certificate must cover what stands here",
        );
    }
    if valid.max_size < SMALL {
        let text = format!("max-size is {} bytes", valid.max_size);
        doubt(text, "raise it: hardly a message is that small");
    }
    doubts
}

fn judge_ttl(name: &str, texts: &Texts) -> Check {
    let seconds = texts.ttl.as_secs();
    if texts.ttl > LONGEST_TTL {
        let text = format!("{name} may be kept for {seconds} s");
        let fix = "lower it to a day or less: a change of the gateway takes that long to be seen";
        return Check::warning(TTL, text, fix);
    }
    if texts.authoritative && texts.ttl < SHORTEST_TTL {
        let text = format!("{name} may be kept for {seconds} s only");
        let fix = "raise it to 300 s or more: every sender asks again and again, and a short outage of the DNS is felt at once";
        return Check::warning(TTL, text, fix);
    }
    let left = if texts.authoritative {
        ""
    } else {
        " more (this server has it from another)"
    };
    Check::ok(TTL, format!("{name} may be kept for {seconds} s{left}"))
}

/// Whether a record was meant to be ours.
fn is_meant(strings: &[Vec<u8>]) -> bool {
    let text = strings.concat().to_ascii_lowercase();
    let has = |part: &[u8]| text.windows(part.len()).any(|window| window == part);
    has(b"amtp") || has(b"gateway=")
}

/// Whether a name that ought not to have an AMTP record has one: it went to the wrong place.
pub(super) fn is_misplaced(answer: &Result<Texts, DnsFault>) -> bool {
    answer.as_ref().is_ok_and(|texts| {
        texts.records.iter().any(|strings| {
            let start = strings.first().map(|one| one.to_ascii_lowercase());
            start.is_some_and(|start| start.trim_ascii_start().starts_with(b"v=amtp1"))
        })
    })
}

/// The strings as they are written in a zone.
fn written(strings: &[Vec<u8>]) -> String {
    let quoted = |one: &Vec<u8>| format!("\"{}\"", String::from_utf8_lossy(one));
    strings.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::report::Grade::{self, Fault, Ok as Fine, Warning};

    const AT: &str = "_amtp.a.example";
    const GOOD: &str = "v=amtp1;gateway=https://g.example";

    /// The strings of each record.
    type Written<'a> = &'a [&'a [&'a str]];

    fn texts(records: Written) -> Texts {
        let strings = |record: &&[&str]| record.iter().map(|one| one.as_bytes().to_vec()).collect();
        Texts {
            records: records.iter().map(strings).collect(),
            ttl: Duration::from_secs(3_600),
            authoritative: true,
        }
    }

    fn judged(records: Written) -> Found {
        judge(AT, GOOD, &Ok(texts(records)))
    }

    /// The grades of the record's own lines, and all their words.
    fn said(found: &Found) -> (Vec<Grade>, String) {
        let own = found.checks.iter().filter(|check| check.name == NAME);
        let words = own.clone().map(|check| {
            let fix = check.fix.as_deref().unwrap_or_default();
            format!("{} {fix}\n", check.text)
        });
        (
            own.clone().map(|check| check.result).collect(),
            words.collect(),
        )
    }

    #[test]
    fn every_wrong_record_is_told_with_its_remedy() {
        let long = format!("{GOOD};x={}", "y".repeat(4_100));
        for (record, what, remedy) in [
            (
                "v=amtp2;gateway=https://g.example",
                "does not say v=amtp1",
                "begin it with v=amtp1",
            ),
            (
                "v=AMTP1;gateway=https://g.example",
                "does not say v=amtp1",
                "in lower case",
            ),
            (
                "gateway=https://g.example",
                "does not say v=amtp1",
                "begin it",
            ),
            ("v=spf1 -all", "about something else", "wildcard"),
            (
                "v=amtp1;gateway=http://g.example",
                "not an absolute https URL",
                "no http",
            ),
            (
                "v=amtp1",
                "not an absolute https URL",
                "gateway=https://HOST",
            ),
            (
                "v=amtp1;gateway=https://bücher.example",
                "outside printable ASCII",
                "xn--",
            ),
            (
                "v=amtp1;gateway=https://g.example;max-size=10MB",
                "max-size is not",
                "without a unit",
            ),
            (
                "v=amtp1;gateway=https://a.example;gateway=https://b.example",
                "stands twice",
                "keep one",
            ),
            (long.as_str(), "longer than 4096", "shorten"),
        ] {
            let found = judged(&[&[record]]);
            let (grades, words) = said(&found);
            assert_eq!(grades, [Fault, Fault], "{record}");
            assert!(words.contains(what) && words.contains(remedy), "{words}");
            assert!(
                words.contains("has no valid record publish in DNS: _amtp.a.example."),
                "{words}"
            );
            assert!(found.gateways.is_empty());
        }
    }

    #[test]
    fn a_valid_record_may_still_deserve_a_look() {
        let padded = format!("{GOOD};x={}", "y".repeat(300));
        let (start, end) = padded.split_at(255);
        let table: [(Written, &[Grade], &str); 8] = [
            (
                &[&[GOOD]],
                &[Fine],
                "valid: \"v=amtp1;gateway=https://g.example\"",
            ),
            (
                &[&["v=amtp1;", "gateway=https://g.example"]],
                &[Fine, Warning],
                "split into 2 strings",
            ),
            (
                &[&[start, end]],
                &[Fine, Warning],
                "more than one string of 255 holds",
            ),
            (
                &[&["\"v=amtp1;gateway=https://g.example\""]],
                &[Fine, Warning],
                "quotes inside",
            ),
            (
                &[&["v=amtp1;gateway=https://192.0.2.1"]],
                &[Fine, Warning],
                "is an address: 192.0.2.1",
            ),
            (
                &[&["v=amtp1;gateway=https://g.example;max-size=1024"]],
                &[Fine, Warning],
                "1024 bytes",
            ),
            (
                &[&[GOOD], &["v=amtp1; gateway=https://G.example/"]],
                &[Fine, Warning],
                "stands twice",
            ),
            (
                &[&["v=amtp2;x"], &[GOOD]],
                &[Fine, Warning],
                "does not say v=amtp1",
            ),
        ];
        for (records, grades, words) in table {
            let found = judged(records);
            let (seen, text) = said(&found);
            assert_eq!(seen, grades, "{text}");
            assert!(text.contains(words), "{text}");
            assert_eq!(found.gateways.len(), 1, "{text}");
        }
    }

    #[test]
    fn several_gateways_are_alternatives() {
        let found = judged(&[&[GOOD], &["v=amtp1;gateway=https://h.example"]]);
        let (grades, words) = said(&found);
        assert_eq!(grades, [Fine, Fine, Fine]);
        assert!(words.contains("names 2 gateways"), "{words}");
        assert_eq!(found.gateways.len(), 2);
    }

    #[test]
    fn a_missing_record_is_another_fault_than_a_failing_dns() {
        let missing = judge(AT, GOOD, &Err(DnsFault::Nothing { ttl: None }));
        let (grades, words) = said(&missing);
        assert_eq!(grades, [Fault]);
        assert!(
            words.contains(
                "has no TXT record publish in DNS: _amtp.a.example. 3600 IN TXT \"v=amtp1;"
            )
        );
        let failed = judge(AT, GOOD, &Err(DnsFault::Failed("SERVFAIL".to_owned())));
        let (grades, words) = said(&failed);
        assert_eq!(grades, [Fault]);
        assert!(words.contains("the DNS does not answer: SERVFAIL") && !words.contains("publish"));
    }

    #[test]
    fn a_time_to_live_is_judged_by_whoever_sets_it() {
        for (seconds, authoritative, grade) in [
            (3_600, true, Fine),
            (86_400, true, Fine),
            (86_401, false, Warning),
            (29, true, Warning),
            (29, false, Fine),
        ] {
            let answer = Texts {
                ttl: Duration::from_secs(seconds),
                authoritative,
                ..texts(&[&[GOOD]])
            };
            let found = judge(AT, GOOD, &Ok(answer));
            let check = found.checks.last().unwrap();
            assert_eq!((check.name, check.result), (TTL, grade), "{seconds}");
        }
    }

    #[test]
    fn a_record_at_the_wrong_name_is_known_again() {
        assert!(is_misplaced(&Ok(texts(&[&["v=spf1 -all"], &[GOOD]]))));
        assert!(!is_misplaced(&Ok(texts(&[&["v=spf1 -all"]]))));
        assert!(!is_misplaced(&Err(DnsFault::Nothing { ttl: None })));
    }
}
