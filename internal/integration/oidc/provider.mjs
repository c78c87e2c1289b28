// A provider of OpenID Connect on loopback: node provider.mjs DIRECTORY-OF-OIDC-PROVIDER ISSUER. It prints where it listens. REDIRECT is where
// browsers are sent back to; with CLAIMS=id_token, claims of scopes are in the ID token. Requests come from
// a relay, which is the issuer to everybody. Who logs in is whoever says so, on the package's own pages; "mallory" has an address that is not verified.
import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [directory, issuer] = process.argv.slice(2);
const { Provider } = await import(pathToFileURL(join(directory, 'lib', 'index.js')));

const key = (kid, alg, kind, options) => ({
  ...generateKeyPairSync(kind, options).privateKey.export({ format: 'jwk' }), kid, alg, use: 'sig',
});

const client = (client_id, more) => ({
  client_id, client_secret: `secret-of-${client_id}`, redirect_uris: [process.env.REDIRECT || 'https://berthage.example/login/corp'], post_logout_redirect_uris: ['https://berthage.example/'],
  grant_types: ['authorization_code'], response_types: ['code'], ...more,
});

const provider = new Provider(issuer, {
  clients: [
    client('basic'),
    client('post', { token_endpoint_auth_method: 'client_secret_post', id_token_signed_response_alg: 'ES256' }),
    client('public', { token_endpoint_auth_method: 'none', client_secret: undefined, id_token_signed_response_alg: 'EdDSA' }),
    client('pss', { id_token_signed_response_alg: 'PS256' }),
    client('other'),
  ],
  jwks: {
    keys: [
      key('rsa', 'RS256', 'rsa', { modulusLength: 2048 }), key('pss', 'PS256', 'rsa', { modulusLength: 2048 }),
      key('ec', 'ES256', 'ec', { namedCurve: 'P-256' }), key('ed', 'EdDSA', 'ed25519'),
    ],
  },
  enabledJWA: { idTokenSigningAlgValues: ['RS256', 'PS256', 'ES256', 'EdDSA'] },
  claims: { openid: ['sub'], profile: ['name', 'preferred_username'], email: ['email', 'email_verified'], groups: ['groups'] },
  // As the specification has it: with an access token there, claims of scopes are at the userinfo endpoint only.
  conformIdTokenClaims: process.env.CLAIMS !== 'id_token',
  pkce: { required: () => true },
  cookies: { keys: ['of a test'] },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({
      sub: id, name: `${id} of Corp`, preferred_username: id, email: `${id}@corp.example`, email_verified: id !== 'mallory', groups: ['operators', `of-${id}`],
    }),
  }),
});
provider.on('server_error', (_, err) => console.error(err));

const server = createServer(provider.callback());
server.listen(0, '127.0.0.1', () => console.log(`listening on http://127.0.0.1:${server.address().port}`));
