// A service's own authorization server: oidc-provider, with rotation of refresh tokens. One that was used already and comes
// again revokes the grant. Everybody may sign in who types a name, on the provider's own pages.
//
// Arguments: its port, and where the gateway takes answers. SECRET is that of both clients, the gateway's and the connector's.
import { Provider } from "oidc-provider";

const [port, redirectUri] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;
const confidential = { client_secret: process.env.SECRET, token_endpoint_auth_method: "client_secret_basic" };

const provider = new Provider(issuer, {
    clients: [
        {
            client_id: "obo-gateway",
            ...confidential,
            grant_types: ["authorization_code", "refresh_token"],
            redirect_uris: [redirectUri],
        },
        // It has every token that it gets looked at, so it knows at once of one that was revoked.
        { client_id: "helpdesk-api", ...confidential, grant_types: [], redirect_uris: [], response_types: [] },
    ],
    pkce: { required: () => true },
    scopes: ["openid", "offline_access", "email"],
    claims: { openid: ["sub"], email: ["email"] },
    findAccount: (_, name) => ({ accountId: name, claims: () => ({ sub: name, email: `${name}@helpdesk.test` }) }),
    rotateRefreshToken: true,
    ttl: { AccessToken: Number(process.env.ACCESS_TOKEN_SECONDS), RefreshToken: 3600 },
    features: { introspection: { enabled: true }, revocation: { enabled: true } },
    cookies: { keys: [process.env.SECRET] },
});

// What only the provider knows, for the tests.
const seen = { refreshTokens: [], codes: [], revokedGrants: [], refused: [], userInfo: [] };
provider.on("refresh_token.saved", (token) => seen.refreshTokens.push({ token: token.jti, account: token.accountId }));
provider.on("authorization_code.saved", (code) => seen.codes.push(code.jti));
provider.on("grant.revoked", (_, grant) => seen.revokedGrants.push(grant));
provider.on("grant.error", (_, error) => seen.refused.push(`${error.error}: ${error.error_detail ?? ""}`));
provider.use(async (context, next) => {
    if (context.path === "/for-tests") {
        context.body = seen;
        return;
    }
    await next();
    if (context.path === "/me") seen.userInfo.push(context.status);
});

provider.listen(Number(port), "127.0.0.1", () => console.log("listening"));
