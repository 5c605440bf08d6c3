//! A server on the SDK: who calls it, a stream, and a tool that policy keeps from most.

use std::sync::Arc;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use rmcp::handler::server::router::tool::ToolRouter;
use rmcp::handler::server::tool::Extension;
use rmcp::model::{ProgressNotificationParam, RequestMetaObject, ServerCapabilities, ServerConfig};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, Peer, RoleServer, ServerHandler, tool, tool_handler, tool_router};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// One for each test. What it keeps is of one visit at a time.
#[derive(Clone)]
struct Fixture {
    /// Steps that somebody said may be taken.
    steps: Arc<Semaphore>,
    #[expect(dead_code, reason = "the macro of the SDK reads it")]
    tool_router: ToolRouter<Self>,
}

#[tool_router]
impl Fixture {
    /// Who is it?
    #[tool]
    async fn whoami(&self, Extension(head): Extension<http::request::Parts>) -> String {
        let authorization = head.headers.get("authorization").and_then(|value| value.to_str().ok());
        authorization.unwrap_or("nobody").to_owned()
    }

    /// Tells of each step, and waits until it may take the next one.
    #[tool]
    async fn in_steps(&self, meta: RequestMetaObject, client: Peer<RoleServer>) -> Result<String, ErrorData> {
        let token = meta
            .get_progress_token()
            .ok_or_else(|| ErrorData::invalid_params("a progress token is needed", None))?;
        for step in [1.0, 2.0, 3.0] {
            let told = client
                .notify_progress(ProgressNotificationParam::new(token.clone(), step).with_total(3.0))
                .await;
            told.map_err(|error| ErrorData::internal_error(error.to_string(), None))?;
            self.steps.acquire().await.expect("it is never closed").forget();
        }
        Ok("three steps".to_owned())
    }

    /// Lets `in_steps` go on.
    #[tool]
    async fn next_step(&self) -> String {
        self.steps.add_permits(1);
        "one step".to_owned()
    }

    /// Not for everybody.
    #[tool(annotations(destructive_hint = true))]
    async fn delete_everything(&self) -> String {
        "gone".to_owned()
    }
}

#[tool_handler]
impl ServerHandler for Fixture {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }
}

/// Starts one, and returns its address. It serves both eras, and ends with the test.
pub async fn start() -> String {
    let fixture = Fixture { steps: Arc::new(Semaphore::new(0)), tool_router: Fixture::tool_router() };
    let service = StreamableHttpService::new(
        move || Ok(fixture.clone()),
        Arc::new(LocalSessionManager::default()),
        StreamableHttpServerConfig::default(),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let service = TowerToHyperService::new(service.clone());
            tokio::spawn(async move {
                let served =
                    Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service).await;
                // Whoever hangs up ends the connection; the tests see what they got.
                drop(served);
            });
        }
    });
    format!("http://{address}/mcp")
}
