// Package alert turns samples into alerts, and alerts into what somebody is to be told or what is to be done.
//
// It is a leaf: it imports the standard library and alert/detect alone, knows nothing of pools, hypervisors or Prometheus, keeps no clock
// and starts no goroutine. Time enters as a value. What it works with:
//
//   - [Labels] name a thing, [Sample] is what was measured of it, [Matcher] selects by labels;
//   - a rule says of which samples an alert is made, and an engine follows the rules; states and identity of an [Alert] are
//     those of Prometheus: pending, firing, resolved;
//   - a [Dispatcher] decides whom a group of alerts is told to, and when: silences, inhibition, times, acknowledgement, escalation;
//     [State] is what has been decided.
package alert
