//! Tools of REST connectors: their arguments, their scopes, and batches.

use std::collections::BTreeSet;

use obo_gateway::demo::authorization_server::MAIL_AUDIENCE;
use reqwest::{Method, Response};

use crate::bed::{Setup, TOOLS, TestBed, assert_refused, refusal};

mod arguments;
mod paths;
mod scopes;

/// The usual configuration with these tools, and with this Cedar policy beside the rule that allows everything.
async fn bed(tools: &'static str, forbid: &'static str) -> TestBed {
    let bed = Setup::default()
        .config(move |parts| {
            let file = parts.folder.join("policies.cedar");
            std::fs::write(&file, forbid).expect("a file of policies");
            let whole = parts.whole(&parts.issuer(), &parts.mail(tools));
            match forbid {
                "" => whole,
                _ => whole
                    .replace("policy:\n", &format!("policy:\n  cedar: {{ files: [{}] }}\n", file.display())),
            }
        })
        .start()
        .await;
    agree(&bed);
    bed
}

/// What Ada has to agree to before mail is sent for her.
fn agree(bed: &TestBed) {
    bed.authorization_server.grant_consent("ada", MAIL_AUDIENCE, "Mail.Send");
}

/// A call with Ada's token.
async fn call(bed: &TestBed, method: Method, path: &str) -> Response {
    bed.request(method, path).bearer_auth(bed.token("ada")).send().await.expect("an answer")
}
