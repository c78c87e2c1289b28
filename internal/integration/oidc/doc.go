// Package oidc has auth/oidc judged by oidc-provider, an npm package, which is a provider of OpenID Connect that others have written
// and that is certified. In its tests people log in on its own pages, by plain HTTP; berthd's browser tests do so in Chromium, by the program provide.
//
// Before the provider stands a relay, which is the issuer to everybody. That of the tests changes what the provider has really signed: a token for
// another client, of another log-in, with a broken signature.
package oidc
