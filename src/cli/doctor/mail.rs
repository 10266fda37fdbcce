//! What the world is told about a domain's mail: MX, SPF, DMARC and DKIM.
//!
//! AMTP needs none of it. But where it is wrong, mail between people and agents is lost, and others
//! can write in the domain's name.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Tools;
use super::report::{Check, Report};
use crate::net::{DnsFault, MailExchange, Records, Resolver as _, Texts};
use crate::protocol::Domain;

const MX: &str = "mx";
const SPF: &str = "spf";
const DMARC: &str = "dmarc";
const DKIM: &str = "dkim";
/// Mail exchanges that are shown.
const MOST_SHOWN: usize = 5;

/// Looks at a domain's mail; at DKIM only where a selector is given.
pub(super) async fn look(
    tools: &Tools,
    domain: &Domain,
    dkim_selector: Option<&str>,
    report: &mut Report,
) {
    let domain = domain.as_str();
    let exchanges = tools.resolver.mx(domain).await;
    let implicit = match &exchanges {
        Err(DnsFault::Nothing { .. }) => tools.resolver.addresses(domain).await.is_ok(),
        _ => false,
    };
    report.add(judge_mx(domain, &exchanges, implicit));
    let takes_mail = implicit || exchanges.as_ref().is_ok_and(|found| !is_null(found));
    let texts = tools.resolver.texts(domain).await;
    report.add(judge_spf(domain, &texts, takes_mail));
    let name = format!("_dmarc.{domain}");
    report.add(judge_dmarc(&name, &tools.resolver.texts(&name).await));
    if let Some(selector) = dkim_selector {
        let name = format!("{selector}._domainkey.{domain}");
        report.add(judge_dkim(&name, &tools.resolver.texts(&name).await));
    }
}

/// RFC 7505: the domain takes no mail.
fn is_null(found: &Records<MailExchange>) -> bool {
    found.records.iter().all(|one| one.host.is_empty())
}

fn judge_mx(
    domain: &str,
    answer: &Result<Records<MailExchange>, DnsFault>,
    implicit: bool,
) -> Check {
    let found = match answer {
        Ok(found) => found,
        Err(DnsFault::Nothing { .. }) if implicit => {
            let text = format!("{domain} names no mail exchange, so mail goes to its own host");
            return Check::warning(
                MX,
                text,
                format!("publish the MX of {domain}, or one for no mail: 0 ."),
            );
        }
        Err(DnsFault::Nothing { .. }) => {
            return Check::ok(MX, format!("{domain} takes no mail by SMTP"));
        }
        Err(fault) => return unanswered(MX, domain, fault),
    };
    if is_null(found) {
        return Check::ok(MX, format!("{domain} takes no mail by SMTP (null MX)"));
    }
    if found.records.iter().any(|one| one.host.is_empty()) {
        let text = format!("{domain} has a null MX beside others");
        return Check::fault(MX, text, "remove the null MX, or all others");
    }
    let shown = found.records.iter().take(MOST_SHOWN);
    let shown: Vec<String> = shown
        .map(|one| format!("{} {}", one.preference, one.host))
        .collect();
    Check::ok(MX, format!("{domain} takes mail at {}", shown.join(", ")))
}

fn unanswered(name: &'static str, place: &str, fault: &DnsFault) -> Check {
    let text = format!("{place}: {fault}");
    Check::warning(
        name,
        text,
        "look at the zone's name servers, or ask another with --dns",
    )
}

/// The records that begin with a version tag, their strings joined. An answer without records is none.
fn of_version(answer: &Result<Texts, DnsFault>, version: &str) -> Result<Vec<String>, DnsFault> {
    let texts = match answer {
        Ok(texts) => texts,
        Err(DnsFault::Nothing { .. }) => return Ok(Vec::new()),
        Err(fault) => return Err(fault.clone()),
    };
    let joined = texts.records.iter().map(|strings| strings.concat());
    let joined = joined.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Ok(joined.filter(|text| has_version(text, version)).collect())
}

fn has_version(text: &str, version: &str) -> bool {
    let start = text.get(..version.len());
    let next = text.as_bytes().get(version.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(version))
        && next.is_none_or(|byte| b"; ".contains(byte))
}

fn judge_spf(domain: &str, answer: &Result<Texts, DnsFault>, takes_mail: bool) -> Check {
    let records = match of_version(answer, "v=spf1") {
        Ok(records) => records,
        Err(fault) => return unanswered(SPF, domain, &fault),
    };
    match records.as_slice() {
        [] => {
            let who = if takes_mail { "mx -all" } else { "-all" };
            let text = format!("{domain} has no SPF record: anybody can send mail in its name");
            Check::warning(
                SPF,
                text,
                format!("publish in DNS: {domain}. 3600 IN TXT \"v=spf1 {who}\""),
            )
        }
        [one] if lets_all(one) => {
            let text = format!("{domain}: {one} lets everybody send mail in its name");
            Check::warning(SPF, text, "end it with -all or ~all")
        }
        [one] => Check::ok(SPF, format!("{domain}: {one}")),
        more => {
            let text = format!(
                "{domain} has {} SPF records, which counts as broken",
                more.len()
            );
            Check::fault(SPF, text, "put them together into one")
        }
    }
}

fn lets_all(record: &str) -> bool {
    let mut terms = record.split_ascii_whitespace();
    terms.any(|term| term.eq_ignore_ascii_case("+all") || term.eq_ignore_ascii_case("all"))
}

/// The value of a tag in `a=b; c=d`.
fn tag<'a>(record: &'a str, name: &str) -> Option<&'a str> {
    let mut tags = record.split(';').filter_map(|tag| tag.split_once('='));
    let found = tags.find(|(key, _)| key.trim().eq_ignore_ascii_case(name))?;
    Some(found.1.trim())
}

fn judge_dmarc(name: &str, answer: &Result<Texts, DnsFault>) -> Check {
    let records = match of_version(answer, "v=DMARC1") {
        Ok(records) => records,
        Err(fault) => return unanswered(DMARC, name, &fault),
    };
    let [one] = records.as_slice() else {
        if records.is_empty() {
            let text = format!("{name} has no DMARC record (one of a domain above may count)");
            let fix = format!("publish in DNS: {name}. 3600 IN TXT \"v=DMARC1; p=reject\"");
            return Check::warning(DMARC, text, fix);
        }
        let text = format!("{name} has {} DMARC records, so none counts", records.len());
        return Check::fault(DMARC, text, "keep one");
    };
    match tag(one, "p").map(str::to_ascii_lowercase).as_deref() {
        Some("reject" | "quarantine") => Check::ok(DMARC, format!("{name}: {one}")),
        Some("none") => Check::ok(DMARC, format!("{name}: {one} (others only watch)")),
        _ => {
            let text = format!("{name}: {one} has no policy");
            Check::fault(DMARC, text, "add p=none, p=quarantine or p=reject")
        }
    }
}

fn judge_dkim(name: &str, answer: &Result<Texts, DnsFault>) -> Check {
    let texts = match answer {
        Ok(texts) => texts,
        Err(DnsFault::Nothing { .. }) => {
            let text = format!("{name} has no DKIM key");
            return Check::fault(
                DKIM,
                text,
                "publish the key of this selector, or name another",
            );
        }
        Err(fault) => return unanswered(DKIM, name, fault),
    };
    let [strings] = texts.records.as_slice() else {
        let text = format!("{name} has {} records", texts.records.len());
        return Check::fault(DKIM, text, "keep the one with the key");
    };
    let record = String::from_utf8_lossy(&strings.concat()).into_owned();
    let key: Option<String> = tag(&record, "p").map(|key| key.split_ascii_whitespace().collect());
    match key.as_deref() {
        Some("") => {
            let text = format!("{name}: the key is revoked");
            Check::fault(DKIM, text, "sign with another selector")
        }
        Some(key) if STANDARD.decode(key).is_ok() => {
            let kind = tag(&record, "k").unwrap_or("rsa");
            Check::ok(DKIM, format!("{name} has a key ({kind})"))
        }
        _ => {
            let text = format!("{name}: {record} has no key in base64");
            Check::fault(DKIM, text, "publish it as v=DKIM1; k=rsa; p=KEY")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::report::Grade::{self, Fault, Ok as Fine, Warning};
    use std::time::Duration;

    type Texted = Result<Texts, DnsFault>;

    fn texts(records: &[&str]) -> Texted {
        if records.is_empty() {
            return Err(DnsFault::Nothing { ttl: None });
        }
        Ok(Texts {
            records: records
                .iter()
                .map(|record| vec![record.as_bytes().to_vec()])
                .collect(),
            ttl: Duration::from_secs(60),
            authoritative: true,
        })
    }

    fn failed<T>() -> Result<T, DnsFault> {
        Err(DnsFault::Failed("SERVFAIL".to_owned()))
    }

    fn assert_all(judge: impl Fn(&Texted) -> Check, table: &[(&[&str], Grade, &str)]) {
        for (records, grade, words) in table {
            let check = judge(&texts(records));
            let said = format!("{check:?}");
            assert_eq!(check.result, *grade, "{said}");
            assert!(said.contains(words), "{said}");
        }
        assert_eq!(judge(&failed()).result, Warning);
    }

    #[test]
    fn mail_exchanges_are_named_or_missed() {
        let found = |list: &[(u16, &str)]| {
            let one = |(preference, host): &(u16, &str)| MailExchange {
                preference: *preference,
                host: (*host).to_owned(),
            };
            Ok(Records {
                records: list.iter().map(one).collect(),
                ttl: Duration::from_secs(60),
            })
        };
        let nothing = || Err(DnsFault::Nothing { ttl: None });
        for (answer, implicit, grade, words) in [
            (found(&[(5, "mx.example")]), false, Fine, "5 mx.example"),
            (found(&[(0, "")]), false, Fine, "null MX"),
            (
                found(&[(0, ""), (5, "mx.example")]),
                false,
                Fault,
                "beside others",
            ),
            (nothing(), true, Warning, "its own host"),
            (nothing(), false, Fine, "takes no mail"),
            (failed(), false, Warning, "SERVFAIL"),
        ] {
            let check = judge_mx("a.example", &answer, implicit);
            assert_eq!(check.result, grade, "{check:?}");
            assert!(check.text.contains(words), "{check:?}");
        }
    }

    #[test]
    fn one_spf_record_says_who_may_send() {
        assert_all(
            |answer| judge_spf("a.example", answer, true),
            &[
                (&["v=spf1 mx -all"], Fine, "v=spf1 mx -all"),
                (&["other", "V=SPF1 -all"], Fine, "-all"),
                (&["v=spf10 -all"], Warning, "no SPF record"),
                (&[], Warning, "v=spf1 mx -all"),
                (&["v=spf1 mx all"], Warning, "everybody"),
                (&["v=spf1 -all", "v=spf1 mx -all"], Fault, "2 SPF records"),
            ],
        );
        let silent = judge_spf("a.example", &texts(&[]), false);
        assert!(silent.fix.unwrap().ends_with("\"v=spf1 -all\""));
    }

    #[test]
    fn one_dmarc_record_says_what_becomes_of_forged_mail() {
        assert_all(
            |answer| judge_dmarc("_dmarc.a.example", answer),
            &[
                (&["v=DMARC1; p=reject"], Fine, "p=reject"),
                (
                    &["v=DMARC1;p=none;rua=mailto:x@a.example"],
                    Fine,
                    "only watch",
                ),
                (&["v=DMARC1; sp=reject"], Fault, "has no policy"),
                (
                    &["v=DMARC1; p=reject", "v=DMARC1; p=none"],
                    Fault,
                    "none counts",
                ),
                (&["v=spf1 -all"], Warning, "no DMARC record"),
                (&[], Warning, "_dmarc.a.example. 3600 IN TXT"),
            ],
        );
    }

    #[test]
    fn a_dkim_key_is_there_and_is_one() {
        assert_all(
            |answer| judge_dkim("s._domainkey.a.example", answer),
            &[
                (&["v=DKIM1; k=ed25519; p=AAAA AAAA"], Fine, "ed25519"),
                (&["p=AAAA"], Fine, "(rsa)"),
                (&["v=DKIM1; p="], Fault, "revoked"),
                (&["v=DKIM1; p=!"], Fault, "no key in base64"),
                (&["v=DKIM1"], Fault, "no key in base64"),
                (&["p=AAAA", "p=BBBB"], Fault, "2 records"),
                (&[], Fault, "has no DKIM key"),
            ],
        );
    }
}
