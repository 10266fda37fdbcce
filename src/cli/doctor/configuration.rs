//! Does the published record say what the configuration does?

use super::report::Check;
use crate::config::{Config, Size};
use crate::protocol::{Advertisement, Domain};

const DOMAIN: &str = "config-domain";
const GATEWAY: &str = "config-gateway";
const SIZE: &str = "config-size";
const FEATURES: &str = "config-features";

/// Compares what a domain's valid records say with a gateway's configuration.
pub(super) fn compare(domain: &Domain, published: &[Advertisement], config: &Config) -> Vec<Check> {
    let mut checks = vec![judge_domain(domain, &config.domains)];
    if published.is_empty() {
        return checks;
    }
    let ours = config.advertisement();
    let same = published.iter().find(|one| one.gateway == ours.gateway);
    let Some(same) = same else {
        let named: Vec<&str> = published.iter().map(|one| one.gateway.as_str()).collect();
        let text = format!(
            "the record names {}, but gateway_url is {}",
            named.join(", "),
            ours.gateway
        );
        checks.push(Check::fault(
            GATEWAY,
            text,
            format!("publish \"{ours}\", or set gateway_url"),
        ));
        return checks;
    };
    let text = format!("the record names {}, as gateway_url does", ours.gateway);
    checks.push(Check::ok(GATEWAY, text));
    checks.push(judge_size(same, &ours));
    checks.push(judge_features(same, &ours));
    checks
}

fn judge_domain(domain: &Domain, ours: &[Domain]) -> Check {
    if ours.contains(domain) {
        return Check::ok(DOMAIN, format!("{domain} is one of our domains"));
    }
    let text = format!("{domain} is not among the configuration's domains");
    Check::fault(
        DOMAIN,
        text,
        "add it to domains, or look at another configuration",
    )
}

fn judge_size(published: &Advertisement, ours: &Advertisement) -> Check {
    let (said, taken) = (Size(published.max_size), Size(ours.max_size));
    if said > taken {
        let text = format!("the record says max-size {said}, but limits.message_size is {taken}");
        let fix = format!(
            "publish max-size={}: what is larger is refused for good",
            ours.max_size
        );
        return Check::fault(SIZE, text, fix);
    }
    if said < taken {
        let text =
            format!("the record says max-size {said}, though limits.message_size is {taken}");
        let fix = format!(
            "publish max-size={} to get larger messages, too",
            ours.max_size
        );
        return Check::warning(SIZE, text, fix);
    }
    Check::ok(
        SIZE,
        format!("the record says max-size {said}, as limits.message_size does"),
    )
}

fn judge_features(published: &Advertisement, ours: &Advertisement) -> Check {
    let beyond = |one: &Advertisement, other: &Advertisement| -> Vec<String> {
        let more = one.features.iter().filter(|name| !other.has_feature(name));
        more.cloned().collect()
    };
    let (promised, untold) = (beyond(published, ours), beyond(ours, published));
    let fix = format!("publish features={}", ours.features.join(","));
    if !promised.is_empty() {
        let text = format!(
            "the record promises {}, which this version does not do",
            promised.join(", ")
        );
        return Check::warning(FEATURES, text, fix);
    }
    if !untold.is_empty() {
        let text = format!("the record does not tell of {}", untold.join(", "));
        return Check::warning(FEATURES, text, fix);
    }
    Check::ok(FEATURES, "the record tells of every feature")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::report::Grade::{self, Fault, Ok as Fine, Warning};

    fn advertisement(record: &str) -> Advertisement {
        Advertisement::parse(&format!("v=amtp1;gateway=https://g.example;{record}")).unwrap()
    }

    #[test]
    fn sizes_and_features_are_to_be_those_of_the_configuration() {
        let ours = advertisement("max-size=1000;features=batch,wait");
        let table: [(&str, Grade, Grade); 5] = [
            ("max-size=1000;features=wait,batch", Fine, Fine),
            ("max-size=1001;features=batch,wait", Fault, Fine),
            ("max-size=999;features=batch,wait", Warning, Fine),
            ("max-size=1000;features=batch", Fine, Warning),
            ("max-size=1000;features=batch,wait,a2a", Fine, Warning),
        ];
        for (record, size, features) in table {
            let published = advertisement(record);
            assert_eq!(judge_size(&published, &ours).result, size, "{record}");
            assert_eq!(
                judge_features(&published, &ours).result,
                features,
                "{record}"
            );
        }
    }

    #[test]
    fn a_domain_is_ours_or_not() {
        let domain = |text: &str| Domain::parse(text).unwrap();
        let ours = [domain("a.example")];
        assert_eq!(judge_domain(&domain("A.example."), &ours).result, Fine);
        assert_eq!(judge_domain(&domain("b.example"), &ours).result, Fault);
    }
}
