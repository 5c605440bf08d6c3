//! Records as the gateway writes them, without a gateway: realistic lines for tests and for `benches/audit.rs`.

use obo_gateway::audit::link::Chain;

/// What is said of a call, where a test cares.
#[derive(Clone)]
pub struct Call<'a> {
    pub person: &'a str,
    pub agent: &'a str,
    pub connector: &'a str,
    pub tool: &'a str,
    /// `answered`, or the code of a refusal.
    pub outcome: &'a str,
    pub identity: &'a str,
    pub status: u16,
    /// When it ended, in milliseconds since 1970.
    pub time: u64,
    pub duration_us: u64,
    pub request_id: String,
    /// What exactly was wrong with it.
    pub detail: &'a str,
    pub user_agent: &'a str,
}

/// 2026-11-28T10:00:00Z.
pub const TIME: u64 = 1_795_860_000_000;

impl Call<'_> {
    /// One of many: who calls what differs with the number.
    pub fn number(number: u64) -> Self {
        const PEOPLE: [&str; 3] = [
            "6a4f7c9e-1b6d-4c55-9d0a-3f9c2b7e51aa",
            "0f8e3d21-7c44-4b0e-8a11-52d6c0b9e777",
            "ada@contoso.example",
        ];
        const TOOLS: [(&str, &str); 4] = [
            ("mail", "list_messages"),
            ("mail", "send_message"),
            ("notes", "read_note"),
            ("crm", "find_account"),
        ];
        const OUTCOMES: [(&str, u16); 8] = [
            ("answered", 200),
            ("answered", 200),
            ("answered", 200),
            ("policy_denied", 403),
            ("answered", 200),
            ("answered", 404),
            ("consent_required", 403),
            ("answered", 200),
        ];
        let pick = |count: usize, step: u64| usize::try_from(number / step).expect("a small number") % count;
        let (connector, tool) = TOOLS[pick(TOOLS.len(), 1)];
        let (outcome, status) = OUTCOMES[pick(OUTCOMES.len(), 1)];
        Self {
            person: PEOPLE[pick(PEOPLE.len(), 2)],
            agent: ["planner", "4f0e1c2d-9a7b-4e7f-8f43-0c1d2e3f4a5b"][pick(2, 3)],
            connector,
            tool,
            outcome,
            identity: if connector == "crm" { "app_only" } else { "on_behalf_of" },
            status,
            time: TIME + number * 250,
            duration_us: 8_000 + number * 7_919 % 90_000,
            request_id: format!("3f0c9a1be2d45678-{number:08x}"),
            detail: "policy: no rule covers the call",
            user_agent: "contoso-agent/4.2 (langgraph; python 3.13)",
        }
    }

    /// Its record, before its place in the trail is added.
    pub fn record(&self) -> String {
        let Self {
            person,
            agent,
            connector,
            tool,
            outcome,
            identity,
            status,
            time,
            duration_us,
            request_id,
            detail,
            user_agent,
        } = self;
        let text = |text: &str| serde_json::to_string(text).expect("a text");
        let (person, agent, detail, user_agent) = (text(person), text(agent), text(detail), text(user_agent));
        let is_refused = *outcome != "answered";
        let (refusal, error, fault) = match is_refused {
            true => (
                format!(r#""status_code":"{outcome}","status_detail":{detail},"#),
                format!(r#","error":"{outcome}""#),
                r#""fault":"user","#,
            ),
            false => (String::new(), String::new(), ""),
        };
        let (ending, decision) = if is_refused { ("refused", "Denied") } else { ("answered", "Allowed") };
        let (status_id, action) = if is_refused { (2, 2) } else { (1, 1) };
        let (start, duration) = (time - duration_us / 1_000, duration_us / 1_000);
        format!(
            concat!(
                r#"{{"class_uid":6003,"class_name":"API Activity","category_uid":6,"activity_id":2,"type_uid":600302,"#,
                r#""severity_id":1,"time":{time},"start_time":{start},"end_time":{time},"duration":{duration},"#,
                r#""status_id":{status_id},{refusal}"actor":{{"user":{{"uid":{person},"type_id":1,"credential_uid":"uti-9f2b7c"}},"#,
                r#""app_uid":{agent},"session":{{"uid":"sid-71ab","issuer":"https://login.example/t-1/v2.0","#,
                r#""expiration_time":1795863600000}},"idp":{{"name":"contoso","issuer":"https://login.example/t-1/v2.0","#,
                r#""tenant_uid":"5b1c0000-0000-4000-8000-000000000001"}}}},"#,
                r#""api":{{"operation":"GET /{connector}/me/{tool}","service":{{"name":"{connector}"}},"#,
                r#""request":{{"uid":"{request_id}"}},"response":{{"code":{status}{error}}}}},"#,
                r#""src_endpoint":{{"ip":"192.0.2.7","port":40212}},"http_request":{{"http_method":"GET","version":"2","#,
                r#""url":{{"path":"/{connector}/me/{tool}","scheme":"https","hostname":"gateway.contoso.example"}},"#,
                r#""user_agent":{user_agent},"body_length":0}},"#,
                r#""http_response":{{"code":{status},"body_length":18342,"latency":{duration}}},"#,
                r#""trace":{{"uid":"4bf92f3577b34da6a3ce929d0e0e4736"}},"action_id":{action},"disposition_id":1,"#,
                r#""authorizations":[{{"decision":"{decision}","policy":{{"name":"staff read mail"}}}}],"#,
                r#""resources":[{{"name":"{connector}/{tool}","type":"tool","namespace":"{connector}","role_id":1}}],"#,
                r#""unmapped":{{"obo":{{"outcome":"{outcome}","ending":"{ending}",{fault}"connector":"{connector}","tool":"{tool}","#,
                r#""identity":"{identity}","scopes_requested":["https://graph.example/Mail.Read"],"#,
                r#""scopes_granted":["https://graph.example/Mail.Read","https://graph.example/User.Read"],"#,
                r#""audience":"https://graph.example","cache":"hit","obtained_after_us":212,"connector_latency_us":{duration_us},"#,
                r#""connector_request_id":"0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9","duration_us":{duration_us}}}}},"#,
                r#""metadata":{{"version":"1.8.0","uid":"{request_id}","tenant_uid":"5b1c0000-0000-4000-8000-000000000001","#,
                r#""profiles":["security_control","trace"],"#,
                r#""product":{{"name":"obo-gateway","vendor_name":"obo-gateway","version":"0.1.0"}}}}}}"#
            ),
            time = time,
            start = start,
            duration = duration,
            status_id = status_id,
            refusal = refusal,
            person = person,
            agent = agent,
            connector = connector,
            tool = tool,
            request_id = request_id,
            status = status,
            error = error,
            user_agent = user_agent,
            action = action,
            decision = decision,
            outcome = outcome,
            ending = ending,
            fault = fault,
            identity = identity,
            duration_us = duration_us,
        )
    }
}

/// The record of a mark, with the members of `unmapped.obo` beside its name.
pub fn mark(name: &str, members: &str, time: u64) -> String {
    let severity = if name == "recovered" { 4 } else { 1 };
    format!(
        concat!(
            r#"{{"class_uid":0,"class_name":"Base Event","category_uid":0,"activity_id":99,"activity_name":"{name}","#,
            r#""type_uid":99,"severity_id":{severity},"time":{time},"message":"{name} happened","#,
            r#""unmapped":{{"obo":{{"mark":"{name}"{members}}}}},"#,
            r#""metadata":{{"version":"1.8.0","uid":"3f0c9a1be2d45678-0000abcd","#,
            r#""product":{{"name":"obo-gateway","vendor_name":"obo-gateway","version":"0.1.0"}}}}}}"#
        ),
        name = name,
        severity = severity,
        time = time,
        members = members,
    )
}

/// Adds a record to a trail, as a line with its line break.
pub fn add(chain: &mut Chain, record: &str, lines: &mut Vec<u8>) {
    let start = lines.len();
    lines.extend_from_slice(record.as_bytes());
    chain.close(lines, start);
}
