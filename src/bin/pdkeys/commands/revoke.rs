//! The command `pdkeys revoke`.

use clap::Args;
use pdkeys::manage::{Outcome, Revoked, revoke};
use pdkeys::model::{CredentialKind, Hint, Id};
use pdkeys::ports::{Clock as _, SystemClock, SystemEntropy};
use pdkeys::verify::Presented;
use serde::Serialize;

use super::verify::kind_in_words;
use crate::failure::{Exit, Failure};
use crate::input::credential::Source;
use crate::output::{self, Format};
use crate::session::{Context, FirstUse};

/// End a key that was found where it does not belong
///
/// Holding a key is enough to revoke it: no user, role or confirmation is needed. The key comes from `--key-file`, else
/// from standard input: alone, or as the whole value of an Authorization header. `PDKEYS_KEY` is ignored, so that no other
/// key than the intended one is revoked.
///
/// A general key is disabled with the reason key-compromise; a user token and an integration are removed; an app token
/// stops working, and other tokens of its app go on. If a rotation keeps the secret alive beside a newer one, only this
/// secret ends. A key that has ended already stays as it is, which is no error. Exits with 5 if no key of this store has or
/// had this secret.
#[derive(Args, Debug)]
pub(crate) struct Revoke {
    #[command(flatten)]
    source: Source,
}

/// A revoked key as it is printed.
#[derive(Debug, Serialize)]
struct RevokedRecord {
    id: Id,
    kind: CredentialKind,
    description: Option<String>,
    hint: Hint,
    outcome: &'static str,
}

impl From<Revoked> for RevokedRecord {
    fn from(revoked: Revoked) -> Self {
        Self {
            id: revoked.id,
            kind: revoked.kind,
            description: revoked.description,
            hint: revoked.hint,
            outcome: revoked.outcome.as_str(),
        }
    }
}

impl Revoke {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        self.source.refuse_arguments("give it on standard input, or in a file with --key-file")?;
        let secret = match self.source.read(&context.terminal, None)? {
            Presented::Secret { secret, .. } => secret,
            Presented::Missing => {
                return Err(Failure::usage("there is no key to revoke")
                    .with_hint("give it on standard input, or in a file with --key-file"));
            }
            Presented::Malformed { .. } => {
                return Err(Failure::usage("this has the shape of no key, and nothing was revoked")
                    .with_hint("a client secret is not revoked: pdkeys app rotate gives its app another"));
            }
        };
        let mut store = context.open(FirstUse::NeedsStore)?;
        let revoked = revoke(&mut store, &SystemClock, &mut SystemEntropy, &secret)?.ok_or_else(|| {
            Failure::not_found(format!(
                "no key of this store has or had the secret that ends in {}",
                secret.hint()
            ))
            .with_hint("--store or PDKEYS_STORE names another store")
        })?;
        let verb = match revoked.outcome {
            Outcome::Disabled => "Disabled",
            Outcome::Removed => "Removed",
            Outcome::Revoked => "Revoked",
            Outcome::OverlapEnded => "Ended",
            Outcome::AlreadyDead => "Unchanged",
        };
        context.terminal.done(verb, &told(&revoked));
        if context.output != Format::Table {
            let now = SystemClock.now();
            output::show(&context.terminal, context.output, now, &RevokedRecord::from(revoked))?;
        }
        Ok(Exit::Done)
    }
}

fn told(revoked: &Revoked) -> String {
    let Revoked { kind, id, hint, .. } = revoked;
    let kind = kind_in_words(*kind);
    let called = revoked.description.as_ref().map(|text| format!("{text}, ")).unwrap_or_default();
    match revoked.outcome {
        Outcome::Disabled | Outcome::Removed => format!("{kind} {id} ({called}...{hint})"),
        Outcome::Revoked => format!("{kind} of {id} ({called}...{hint}); other tokens of the app go on"),
        Outcome::OverlapEnded => {
            format!("the overlap of {kind} {id} ({called}...{hint}); the secret after it goes on")
        }
        Outcome::AlreadyDead => format!("{kind} {id} ({called}...{hint}) opened nothing any more"),
    }
}
