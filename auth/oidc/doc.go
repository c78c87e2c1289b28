// Package oidc has people log in at a provider of OpenID Connect: Keycloak, Entra ID, Okta, Google and the like. It is the code flow with PKCE,
// and no other; what the provider says of somebody becomes an [auth.Identity], and package auth decides what they may. It is a module of its
// own, so that nobody else gets the libraries.
//
// [Provider.Begin] gives an address to send the browser to, and a [Pending] for a cookie; [Provider.Finish] gives [Claims] for what the
// browser comes back with; [People] has package auth know who that is. The session after that is yours, or auth/session's. No token of the
// provider is kept: not to refresh, and not to sign out.
//
// # What binds a log-in to a browser
//
// Whoever can have somebody else's browser open a callback of their own would have them logged in under a false name. So what a callback is
// compared with, the state, the nonce and the verifier of PKCE, lies in Config.Scratch under the digest of the Pending, which only the browser
// holds that began: for ten minutes, and once. Set it as a cookie with Secure, HttpOnly, Path=/ and SameSite=Lax (not Strict: the callback
// comes from another site) and a name that begins with __Host-. A second log-in in the same browser takes the place of the first.
// Everybody can begin one, and each takes room in the Scratch: throttle that route as you do others that need no credentials.
//
// Several providers are told apart by the path that each sends the browser back to (Config.Redirect), by the Pending, which only the provider
// knows that began it, and by the parameter iss of RFC 9207, which has to be right where there is one, and has to be there where the provider
// says that it sends it.
//
// # What is believed
//
// Of an ID token: RFC 7519 and OpenID Connect Core 1.0, section 3.1.3.7, with a fixed list of algorithms, keys of the provider's own key set
// only, and more strictly where that costs nothing: no name twice, no header that names a key or must be understood, no other type of token, nothing
// that was issued before the log-in began. Groups come from one claim that is configured, each with the provider's name before it, so that no
// provider can name another's; an e-mail address counts when the provider has verified it, and nothing is decided by it. No claim gives a role:
// roles are [auth.Binding]s of groups. Claims that lie elsewhere (distributed claims) are not fetched.
package oidc
