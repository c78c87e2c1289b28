// Package rulefiles reads rule files of Prometheus and the test files of its promtool, and runs them on package alert alone: the
// same files can be given to promtool, and the two must agree (make test-alerts).
//
// Of PromQL it translates the forms that typed rules have, and refuses every other expression.
package rulefiles
