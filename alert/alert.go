package alert

import "time"

// Phase is where an alert stands.
type Phase string

// The phases of an alert, in their order.
const (
	Pending  Phase = "pending"  // the condition holds, but not yet for as long as the rule asks
	Firing   Phase = "firing"   // it has held for long enough, or held so until just now
	Resolved Phase = "resolved" // it fired, and holds no more
)

// Severity is how bad an alert is. It stands in the label "severity" too.
type Severity string

// The severities, the worst first.
const (
	Critical Severity = "critical"
	High     Severity = "high"
	Medium   Severity = "medium"
	Low      Severity = "low"
)

// The labels that have a meaning of their own.
const (
	NameLabel     = "alertname" // the rule's name
	SeverityLabel = "severity"  // the rule's severity
)

// Alert is one alert. Its labels are its identity: those of the rule, the rule's name and those of what was measured.
// Alerts are values; who is given one may keep it.
type Alert struct {
	Labels      Labels            `json:"labels"`
	Annotations map[string]string `json:"annotations,omitempty"` // for people; not a part of the identity. Not to be changed
	Phase       Phase             `json:"phase"`
	Value       float64           `json:"value"`            // what the condition last gave
	Active      time.Time         `json:"active"`           // since when the condition holds
	Fired       time.Time         `json:"fired,omitzero"`   // since when it fires
	Keeping     time.Time         `json:"keeping,omitzero"` // since when the condition holds no more and it fires on
	Ended       time.Time         `json:"ended,omitzero"`   // since when it is resolved
	Updated     time.Time         `json:"updated,omitzero"` // when it was last looked at

	// Of an alert that somebody else's rules gave (see [Receive]); zero of one of our own.
	Received time.Time `json:"received,omitzero"` // when it was first told to us
	Expires  time.Time `json:"expires,omitzero"`  // when it is taken for resolved unless it is told again
}
