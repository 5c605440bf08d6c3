//! The pages people see: no scripts, one hashed style, every text escaped.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Response, StatusCode, header};
use url::Url;

use super::interaction::AuthorizationRequest;
use super::respond::respond;
use super::settings::Scope;
use crate::demo::body::Body;
use crate::demo::people::Person;

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#59636e;--card:#fff;--back:#eef1f5;--line:#d5dbe2;\
--accent:#2456c8;--on-accent:#fff;--tint:#e8eefb}\
@media(prefers-color-scheme:dark){:root{--ink:#e8ebef;--soft:#9aa5b1;--card:#1d2127;--back:#121519;\
--line:#353c45;--accent:#8fb2ff;--on-accent:#0d1a38;--tint:#222c42}}\
*{box-sizing:border-box}\
body{margin:0;min-height:100vh;display:grid;place-items:center;padding:1.5rem;background:var(--back);\
color:var(--ink);font:1rem/1.5 system-ui,sans-serif}\
main{width:100%;max-width:26rem;padding:2rem;background:var(--card);border:1px solid var(--line);\
border-radius:1rem;box-shadow:0 .5rem 2rem #0001}\
h1{margin:0 0 .5rem;font-size:1.4rem;line-height:1.25}\
p{margin:0 0 1rem}\
.soft,small{color:var(--soft);font-size:.875rem}\
.badge{display:inline-block;margin:0 0 1rem;padding:.15rem .6rem;border-radius:1rem;background:var(--tint);\
color:var(--accent);font-size:.8rem;font-weight:600}\
button{font:inherit;color:inherit;cursor:pointer;border-radius:.6rem;border:1px solid var(--line);\
background:transparent;padding:.7rem 1rem}\
button:hover{border-color:var(--accent);background:var(--tint)}\
button:focus-visible{outline:3px solid var(--accent);outline-offset:2px}\
.person{display:flex;gap:.9rem;align-items:center;width:100%;margin-top:.6rem;text-align:left}\
.person span{display:block}\
.initials{flex:none;width:2.5rem;height:2.5rem;line-height:2.5rem;text-align:center;border-radius:50%;\
background:var(--tint);color:var(--accent);font-weight:600}\
ul{margin:0 0 1.25rem;padding:0;list-style:none;border-top:1px solid var(--line)}\
li{padding:.6rem 0;border-bottom:1px solid var(--line)}\
code{font-size:.8rem;color:var(--soft);overflow-wrap:anywhere}\
.answers{display:flex;gap:.75rem}.answers button{flex:1}\
.agree{background:var(--accent);border-color:var(--accent);color:var(--on-accent);font-weight:600}\
.agree:hover{background:var(--accent);filter:brightness(1.08)}";

/// The hash by which the policy allows this style and no other.
static STYLE_HASH: LazyLock<String> = LazyLock::new(|| {
    STANDARD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, STYLE.as_bytes()).as_ref())
});

/// Who are you?
pub(super) fn sign_in(
    request: &AuthorizationRequest,
    people: &[Person],
    action: &str,
    form_token: &str,
) -> Response<Body> {
    let mut content = format!(
        "<p class=badge>Development server</p><h1>Pick who you are</h1>\
         <p class=soft>{} wants you to sign in. There are no passwords here.</p>\
         <form method=post action=\"{}\"><input type=hidden name=form_token value=\"{}\">",
        escape(&request.client_name),
        escape(action),
        escape(form_token)
    );
    for person in people {
        let initials: String =
            person.name.split(' ').filter_map(|part| part.chars().next()).take(2).collect();
        content += &format!(
            "<button class=person name=person value=\"{}\"><span class=initials aria-hidden=true>{}</span>\
             <span><span>{}</span><small>{}</small></span></button>",
            escape(&person.oid),
            escape(&initials),
            escape(&person.name),
            escape(&person.user_name)
        );
    }
    content += "</form>";
    page(StatusCode::OK, "Sign in", &content, form_targets(request))
}

/// Do you agree?
pub(super) fn consent(
    request: &AuthorizationRequest,
    person: &Person,
    scopes: &[Scope],
    action: &str,
    form_token: &str,
) -> Response<Body> {
    let content = format!(
        "<p class=badge>Development server</p><h1>{} asks for your permission</h1>\
         <p class=soft>You are {}. If you agree, it may do this when an agent you use asks it to:</p>{}\
         <form method=post action=\"{}\"><input type=hidden name=form_token value=\"{}\">\
         <div class=answers><button name=answer value=decline>Do not allow</button>\
         <button class=agree name=answer value=agree>Allow</button></div></form>",
        escape(&request.client_name),
        escape(&person.name),
        scope_list(scopes, request.asked.audience.as_deref()),
        escape(action),
        escape(form_token)
    );
    page(StatusCode::OK, "Permission", &content, form_targets(request))
}

/// The end of a consent link.
pub(super) fn done(client_name: &str, scopes: &[Scope]) -> Response<Body> {
    let content = format!(
        "<h1>Done</h1><p>You have given {} these permissions:</p>{}\
         <p>Go back to your agent and ask it to try again. You can close this page.</p>",
        escape(client_name),
        scope_list(scopes, None)
    );
    page(StatusCode::OK, "Done", &content, String::new())
}

/// The other end of a consent link.
pub(super) fn declined(client_name: &str) -> Response<Body> {
    let content = format!(
        "<h1>Nothing has changed</h1><p>You did not give {} any permission. You can close this page.</p>",
        escape(client_name)
    );
    page(StatusCode::OK, "Nothing has changed", &content, String::new())
}

/// Something is wrong with the link or the form.
pub(super) fn problem(status: StatusCode, text: &str) -> Response<Body> {
    let content = format!("<h1>This did not work</h1><p>{}</p>", escape(text));
    page(status, "This did not work", &content, String::new())
}

fn scope_list(scopes: &[Scope], audience: Option<&str>) -> String {
    let prefix = audience.map(|audience| format!("{audience}/")).unwrap_or_default();
    let items: String = scopes
        .iter()
        .map(|scope| {
            let name = format!("{prefix}{}", scope.name);
            format!("<li>{}<br><code>{}</code></li>", escape(&scope.meaning), escape(&name))
        })
        .collect();
    format!("<ul>{items}</ul>")
}

/// Where forms of a page may lead. Chromium applies the policy to the redirect after a form too, so the
/// address that the code goes to has to be named.
fn form_targets(request: &AuthorizationRequest) -> String {
    let redirect_uri = request.code_to.as_ref().and_then(|to| Url::parse(&to.redirect_uri).ok());
    redirect_uri.map(|url| format!(" {}", url.origin().ascii_serialization())).unwrap_or_default()
}

fn page(status: StatusCode, title: &str, content: &str, form_targets: String) -> Response<Body> {
    let html = format!(
        "<!doctype html><html lang=en><meta charset=utf-8>\
         <meta name=viewport content=\"width=device-width,initial-scale=1\">\
         <meta name=color-scheme content=\"light dark\"><title>{}</title><style>{STYLE}</style>\
         <main>{content}</main></html>",
        escape(title)
    );
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; form-action 'self'{form_targets}; base-uri 'none'; \
         frame-ancestors 'none'",
        *STYLE_HASH
    );
    let mut response = respond(status, "text/html; charset=utf-8", html);
    let headers = response.headers_mut();
    let policy = HeaderValue::from_str(&policy).expect("a hash and an origin make a header value");
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    // Not `no-referrer`: under it browsers call the origin of our own forms null.
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    response
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\'' => escaped += "&#39;",
            _ => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_a_link_says_can_become_markup() {
        let escaped = escape("<script src='x' y=\"z\">&amp;");
        assert_eq!(escaped, "&lt;script src=&#39;x&#39; y=&quot;z&quot;&gt;&amp;amp;");
    }
}
