// Package oidc has nothing but tests: auth/oidc with oidc-provider, an npm package, which is a provider of OpenID Connect that others have written
// and that is certified. People log in on its own pages, by plain HTTP.
//
// Between the two stands a relay, which is the issuer to both. It changes what the provider has really signed: a token for another client, of
// another log-in, with a broken signature.
package oidc
