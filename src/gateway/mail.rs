//! How mail comes in, from its configuration.

use crate::auth::MailCheck;
use crate::config::Config;
use crate::endpoint::smtp::dialogue::DialogueRules;
use crate::endpoint::smtp::{MailListener, MailListenerOptions, Mailroom, MailroomRules};
use crate::intake::{Intake, MailDoor};
use crate::lifecycle::Stage;
use crate::mime::MailLimits;
use crate::net::pooled_resolver;
use crate::store::Sealer;
use crate::tls::TlsIdentity;

use super::{CUTTING, Parts, StartError};

/// Commands that a client may give without bringing a mail.
const COMMANDS: usize = 2_000;

/// The listener for mail, where there is one, with what takes the mail.
pub(super) struct Mail(Option<(MailListener, Mailroom)>);

impl Mail {
    pub(super) async fn bind(
        parts: &Parts<'_>,
        identity: &TlsIdentity,
        intake: &Intake,
    ) -> Result<Self, StartError> {
        let config = parts.config;
        let Some(address) = config.listen.smtp else {
            return Ok(Self(None));
        };
        let options = options(config);
        let dns = pooled_resolver(&config.dns.servers, config.dns.timeout)?;
        let forwarders = &config.smtp.trusted_forwarders;
        let clock = parts.clock.clone();
        let check = MailCheck::new(dns, &options.rules.host, forwarders, clock.clone());
        let rules = MailroomRules {
            limits: MailLimits {
                size: config.smtp.message_size,
                ..MailLimits::default()
            },
            honours_requests: config.smtp.honour_dmarc,
        };
        let mailroom = Mailroom::new(intake.clone(), check, rules, clock.clone());
        let tools = (clock, parts.metrics.clone());
        let tls = Some(identity.mail_config());
        let listener = MailListener::bind(address, options, tls, tools).await?;
        Ok(Self(Some((listener, mailroom))))
    }

    pub(super) fn open(self, doors: &Stage) {
        if let Some((listener, mailroom)) = self.0 {
            doors.spawn("smtp", listener.run(mailroom, doors.stop()));
        }
    }
}

/// Lets the door take mail, and what comes back of mail that went out.
pub(super) fn door(config: &Config, intake: Intake, sealer: Option<&Sealer>) -> Intake {
    intake.with_mail(MailDoor {
        gateway: config.gateway_url.clone(),
        returns: sealer.cloned(),
    })
}

fn options(config: &Config) -> MailListenerOptions {
    let (smtp, limits) = (&config.smtp, &config.limits);
    let host = smtp.host.as_ref().map(|host| host.as_str());
    MailListenerOptions {
        rules: DialogueRules {
            host: host.unwrap_or(config.gateway_url.host()).to_owned(),
            main_domain: config.domains[0].clone(),
            size: smtp.message_size,
            recipients: smtp.recipients.min(limits.recipients),
            tls: true,
            faults: smtp.errors,
            commands: COMMANDS,
        },
        connections: smtp.connections,
        per_client: smtp.connections_per_address,
        connection_rate: (smtp.connection_rate.count, smtp.connection_rate.period),
        message_rate: (smtp.message_rate.count, smtp.message_rate.period),
        memory: smtp.memory,
        greeting_delay: smtp.greeting_delay,
        handshake: limits.handshake_timeout,
        silence: smtp.command_timeout,
        mail: smtp.message_timeout,
        grace: limits.shutdown_grace.saturating_sub(CUTTING),
        trusted_proxies: config.listen.trusted_proxies.clone().into(),
        proxy_protocol: config.listen.proxy_protocol,
    }
}
