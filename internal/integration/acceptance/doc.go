// Package acceptance has nothing but a test: Alertmanager's own acceptance suite, run against alertd, a small program over packages alert and
// notify that stands where the suite looks for Alertmanager. It imports nothing of Alertmanager's.
//
// The suite says which alerts have to arrive in which tenths of a second. Their starts and ends it means to compare and does not: what it
// expects it computes before it knows the moment at which it begins.
package acceptance
