// Package hetznertest simulates the services of Hetzner for tests: Cloud is the Cloud API of one project, Robot the
// web service for dedicated servers. Both keep state, are strict about what they are sent, and can be told to go
// wrong (Fault): to lose requests or answers, to be slow, to refuse, to have actions end in errors.
//
// They are written from the services' documentation and tell nothing new about the real ones. What a Cloud is sent
// and what it answers can be judged by somebody else, see Judge.
package hetznertest
