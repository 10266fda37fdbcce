//! `amtpd quickstart`: a whole federation on this machine, in one process.
//!
//! - A DNS server, two gateways of their own domains, agents, a webhook, a mail server; nothing is prepared and
//!   nothing listens beyond 127.0.0.1.
//! - A message goes from one domain to the other and its answer comes back; each step is told in
//!   plain words and checked through the public API.
//! - Then everything runs until a signal; with `--once` it ends at once, with exit code 0 only if
//!   every step was confirmed.

mod a2a;
mod agents;
mod authority;
mod dns;
mod folder;
mod hints;
mod letter;
mod person;
mod ports;
mod sink;
mod site;
mod story;
mod voice;
mod webhook;

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use self::agents::Registry;
use self::authority::Authority;
use self::dns::{DnsServer, Zone};
use self::folder::{Folder, Readers};
use self::hints::Hints;
use self::ports::{DnsSockets, Ports, here, listener};
use self::sink::Sink;
use self::site::{Plan, Site};
use self::story::{Cast, Story, Told, record_of};
use self::voice::Voice;
use super::show;
use crate::clock::Clock;
use crate::config::{Environment, user_data_folder};
use crate::endpoint::http::server::{Server, ServerOptions};
use crate::lifecycle::{Lifecycle, LifecycleFault, ServiceManager, Signal, Signals, Stage};
use crate::net::{HickoryResolver, HttpsClient, Options, Roots};
use crate::telemetry::{self, LogFormat, LogOptions, Metrics};

/// More than the gateways take for their own end.
const GRACE: Duration = Duration::from_secs(15);
const DNS_TIMEOUT: Duration = Duration::from_secs(3);

/// Try it out: two domains on this machine, and a message from one to the other
#[derive(Debug, Args)]
pub(super) struct QuickstartCommand {
    /// The folder for its files [default: amtpd-quickstart in your data folder]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// End after the steps: exit code 0 if every one was confirmed
    #[arg(long)]
    once: bool,
    /// First remove what an earlier quickstart left in the folder
    #[arg(long)]
    clean: bool,
}

/// Whether the federation goes on after the story.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stay {
    UntilStopped,
    No,
}

/// A federation, its files written.
struct Federation {
    folder: Folder,
    ports: Ports,
    zone: Arc<Zone>,
    sites: [Site; 2],
    clock: Clock,
    voice: Voice,
}

impl QuickstartCommand {
    pub(super) async fn run(self) -> Result<()> {
        let clock = Clock::system();
        let mut folder = self.folder()?;
        let options = LogOptions {
            format: LogFormat::Text,
            level: "info".to_owned(),
        };
        telemetry::start_into(folder.fresh("amtpd.log")?, &options, clock.clone())?;
        let system = Signals::system()?;
        let (ports, sockets) = Ports::choose(folder.ports())?;
        folder.keep(ports)?;
        let federation = Federation::prepare(folder, ports, clock)?;
        let stay = if self.once {
            Stay::No
        } else {
            Stay::UntilStopped
        };
        federation.run(sockets, system, stay).await
    }

    fn folder(&self) -> Result<Folder> {
        let usual = || user_data_folder().map(|folder| folder.join("amtpd-quickstart"));
        let path = self.dir.clone().or_else(usual);
        let path = path.context("you have no home folder; name a folder with --dir")?;
        let mut folder = Folder::open(&path)?;
        if self.clean {
            folder.clean()?;
        }
        Ok(folder)
    }
}

impl Federation {
    /// Writes every file and the zone.
    fn prepare(folder: Folder, ports: Ports, clock: Clock) -> Result<Self> {
        let authority = Authority::new(clock.now())?;
        folder.write("ca.pem", Readers::All, &authority.certificate())?;
        let [alpha, beta] = ["alpha.test", "beta.test"];
        let site = |(domain, postmaster), other, own| {
            let plan = Plan {
                domain,
                other,
                postmaster,
                ports: own,
                dns: ports.dns,
                mail: ports.mail,
            };
            Site::prepare(plan, &folder, &authority)
        };
        let own = (ports.alpha, ports.alpha_ops, ports.alpha_mail);
        let other = (ports.beta, ports.beta_ops, ports.beta_mail);
        let sites = [
            site((alpha, "alice"), beta, own)?,
            site((beta, "carol"), alpha, other)?,
        ];
        let mut zone = Zone::default();
        for site in &sites {
            zone.text(&record_of(site.domain), site.record()?);
            zone.address(&site.host, Ipv4Addr::LOCALHOST);
            zone.mail(site.domain, &site.host)?;
        }
        zone.mail("people.test", "mail.people.test")?;
        zone.address("mail.people.test", Ipv4Addr::LOCALHOST);
        zone.text("people.test", "v=spf1 ip4:127.0.0.1 -all".to_owned());
        zone.text("_dmarc.people.test", "v=DMARC1; p=reject".to_owned());
        Ok(Self {
            folder,
            ports,
            zone: Arc::new(zone),
            sites,
            clock,
            voice: Voice::of_process(&Environment::of_process()),
        })
    }

    /// Starts everything, tells the story, and lives until it is asked to stop.
    async fn run(self, sockets: DnsSockets, mut system: Signals, stay: Stay) -> Result<()> {
        self.open()?;
        let mut lifecycle = Lifecycle::new(self.clock.clone());
        let services = lifecycle.stage("services");
        let dns = DnsServer::new(sockets, self.zone.clone(), self.clock.clone())?;
        services.spawn("dns", dns.run(services.stop()));
        let gateways = lifecycle.stage("gateways");
        for site in &self.sites {
            let gateway = site.start(&self.clock).await?;
            let stop = Signals::when(gateways.stop());
            gateways.spawn(site.domain, gateway.run(stop, ServiceManager::none()));
        }
        let mut told = None;
        let (ask, asked) = Signals::scripted();
        let script = async {
            tokio::select! {
                outcome = self.show(&services, stay) => told = Some(outcome),
                _ = system.next() => {}
            }
            loop {
                // The life that this ends has ended when nobody listens.
                let _ = ask.send(Signal::Stop);
                system.next().await;
            }
        };
        let life = lifecycle.run(asked, ServiceManager::none(), GRACE);
        let ended = tokio::select! {
            ended = life => ended,
            () = script => unreachable!("it asks for ever"),
        };
        self.close(ended, told, stay)
    }

    fn open(&self) -> Result<()> {
        let [alpha, beta] = &self.sites;
        self.voice
            .heading("Two domains on this machine, as if they were far apart")?;
        self.voice
            .fact(&format!("alpha.test  gateway {}", alpha.url()))?;
        self.voice
            .fact("            agent alice: reads her inbox")?;
        self.voice
            .fact(&format!("beta.test   gateway {}", beta.url()))?;
        self.voice
            .fact("            agent bob: a program that is called (a webhook)")?;
        self.voice
            .fact("            agent carol: reads her inbox")?;
        self.voice
            .fact("people.test no gateway; dora there has mail")
    }

    /// Tells the story; where it stays, lists what can be done now and goes on for ever.
    async fn show(&self, services: &Stage, stay: Stay) -> Result<Told> {
        let client = HttpsClient::new(&Options {
            roots: Roots::File(self.folder.path().join("ca.pem")),
            resolve: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        })?;
        let registry = Registry {
            folder: &self.folder,
            client: &client,
        };
        let [alpha, beta] = &self.sites;
        let door = here(self.ports.webhook);
        let target = format!("http://{door}{}", webhook::PATH);
        let (bob, secret) = registry.push(beta, "bob", &target).await?;
        registry
            .stand_in(alpha, a2a::STAND_IN, &bob.address)
            .await?;
        let cast = Arc::new(Cast {
            alpha: alpha.clone(),
            beta: beta.clone(),
            alice: registry.pull(alpha, "alice").await?,
            bob,
            carol: registry.pull(beta, "carol").await?,
            webhook: target,
        });
        let (router, calls) = webhook::webhook(&secret, self.clock.clone());
        let tools = (self.clock.clone(), Metrics::new());
        let server = Server::bind(door, ServerOptions::new("webhook"), None, tools).await?;
        services.spawn("webhook", server.run(router, services.stop()));
        let mails = self.folder.inside("mail")?;
        let (sink, caught) = Sink::new(listener(self.ports.mail)?, mails)?;
        services.spawn("mail", sink.run(services.stop()));
        let story = Story {
            cast: cast.clone(),
            zone: self.zone.clone(),
            resolver: Arc::new(HickoryResolver::new(&[here(self.ports.dns)], DNS_TIMEOUT)?),
            calls,
            caught,
            clock: self.clock.clone(),
            voice: self.voice,
        };
        let told = story.tell().await?;
        if stay == Stay::UntilStopped {
            self.hint(&cast, &told)?;
            std::future::pending::<()>().await;
        }
        Ok(told)
    }

    fn hint(&self, cast: &Cast, told: &Told) -> Result<()> {
        let hints = Hints {
            cast,
            told,
            folder: self.folder.path(),
            program: program(),
            dns: self.ports.dns,
        };
        self.voice
            .heading("Now it is yours: everything runs until you press Ctrl-C")?;
        show(&hints.places())?;
        self.voice.heading("With curl")?;
        show(&hints.curl())?;
        self.voice.heading("The same with this program")?;
        show(&hints.program())
    }

    /// What became of it all.
    fn close(
        &self,
        ended: Result<(), LifecycleFault>,
        told: Option<Result<Told>>,
        stay: Stay,
    ) -> Result<()> {
        let path = self.folder.path().display();
        if ended.is_err() || matches!(told, Some(Err(_))) {
            self.voice.heading("That did not work")?;
            let text = format!("The gateways' log may say more: {path}/amtpd.log");
            self.voice.say(&text)?;
        }
        ended?;
        match told {
            Some(told) => {
                let told = told?;
                let took = told.took.as_millis();
                let text = format!("All {} steps were confirmed, in {took} ms", told.steps);
                self.voice.heading(&text)?;
            }
            None if stay == Stay::No => bail!("stopped before every step was confirmed"),
            None => self.voice.heading("Stopped")?,
        }
        self.voice
            .say(&format!("Everything has ended; its files are in {path}."))
    }
}

/// How this program is called from here.
fn program() -> PathBuf {
    std::env::args_os()
        .next()
        .map_or_else(|| "amtpd".into(), PathBuf::from)
}
