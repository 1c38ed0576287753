// A certified provider of OpenID Connect: node provider.mjs PORT REDIRECT_URI. Any name and password sign in; "ann" is an admin.
import { Provider } from "oidc-provider";

const [port, redirectUri] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;
const provider = new Provider(issuer, {
  clients: [{ client_id: "lumni", client_secret: "secret", redirect_uris: [redirectUri] }],
  // The gateway reads the id token alone.
  conformIdTokenClaims: false,
  claims: { openid: ["sub", "groups"], email: ["email", "email_verified"] },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({
      sub: id,
      email: `${id}@example.com`,
      email_verified: true,
      groups: id === "ann" ? ["staff", "llm-admins"] : ["guests"],
    }),
  }),
});
provider.listen(Number(port), "127.0.0.1", () => console.log("listening"));
