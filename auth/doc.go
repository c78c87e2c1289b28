// Package auth says who somebody is and what they may do. It is a leaf: a platform can use it with nothing else of Berthage but
// package pool, whose ledger and Scratch it keeps its facts in.
//
// Two questions, an interface of one method for each, so that you can bring your own:
//
//   - [Authenticator]: whose credentials are these? The answer is an [Identity].
//   - [Authorizer]: may that Identity do this to that [Thing]? The answer is nil or a [*Refusal] with its [Reason].
//
// What is known of principals, bindings, tokens and keys is [State], a [pool.Part]: it is folded from events of its own, is immutable, and
// decides commands. [State.Access] decides on it, purely. What a role may do with what is [Table], which is data and meant to be read.
//
// Nothing is allowed that the table and a binding do not allow together, and whatever goes wrong on the way, a store that fails among it,
// the answer is no.
//
// Below it: auth/password hashes passwords, auth/totp is the second factor, auth/login brings both together, auth/session issues what
// somebody holds after that, auth/sshkey reads public keys.
package auth
