package alert

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
)

// Op is how a matcher compares.
type Op string

// The operators. A regular expression (RE2) is anchored at both ends, and a label that is missing has the empty value.
const (
	Equal    Op = "="
	NotEqual Op = "!="
	Match    Op = "=~"
	NotMatch Op = "!~"
)

// MaxPattern is the greatest length in bytes of what a matcher compares with.
const MaxPattern = 4096

// Matcher selects by one label. The zero value matches nothing; NewMatcher makes others. It is safe for
// concurrent use.
type Matcher struct {
	name, value string
	op          Op
	re          *regexp.Regexp // of Match and NotMatch
}

// NewMatcher returns a matcher, or ErrInvalid for one without a name, with an operator that there is not, or with a regular
// expression that is none.
func NewMatcher(name string, op Op, value string) (Matcher, error) {
	m := Matcher{name: name, op: op, value: value}
	switch {
	case name == "" || len(name) > MaxLabelName:
		return Matcher{}, invalid("matcher.name", name, "the name of a label")
	case len(value) > MaxPattern:
		return Matcher{}, invalid("matcher.value", value, "at most "+strconv.Itoa(MaxPattern)+" bytes")
	}
	switch op {
	case Equal, NotEqual:
	case Match, NotMatch:
		re, err := regexp.Compile("^(?s:" + value + ")$")
		if err != nil {
			return Matcher{}, &Error{Kind: ErrInvalid, Field: "matcher.value", Value: value, Want: "a regular expression (RE2)", Cause: err}
		}
		m.re = re
	default:
		return Matcher{}, invalid("matcher.op", string(op), "=, !=, =~ or !~")
	}
	return m, nil
}

// Name returns the name of the label, Op how and Value with what it is compared.
func (m Matcher) Name() string { return m.name }

// Op returns how the label is compared.
func (m Matcher) Op() Op { return m.op }

// Value returns with what the label is compared.
func (m Matcher) Value() string { return m.value }

// Matches says whether the label of that set is as the matcher wants it.
func (m Matcher) Matches(l Labels) bool {
	switch m.op {
	case Equal:
		return l.Get(m.name) == m.value
	case NotEqual:
		return l.Get(m.name) != m.value
	case Match:
		return m.re.MatchString(l.Get(m.name))
	case NotMatch:
		return !m.re.MatchString(l.Get(m.name))
	}
	return false
}

// String returns the matcher as it is written: host=~"h.*".
func (m Matcher) String() string {
	name := m.name
	if !plain(name) {
		name = strconv.Quote(name)
	}
	return name + string(m.op) + strconv.Quote(m.value)
}

// MarshalJSON writes {"name": ..., "op": ..., "value": ...}.
func (m Matcher) MarshalJSON() ([]byte, error) {
	return json.Marshal(matcherJSON{m.name, m.op, m.value})
}

// UnmarshalJSON reads what MarshalJSON writes; without an operator it is "=". It fails as NewMatcher does.
func (m *Matcher) UnmarshalJSON(b []byte) error {
	var j matcherJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return &Error{Kind: ErrInvalid, Field: "matcher", Want: "an object with name, op and value", Cause: err}
	}
	if j.Op == "" {
		j.Op = Equal
	}
	made, err := NewMatcher(j.Name, j.Op, j.Value)
	if err == nil {
		*m = made
	}
	return err
}

type matcherJSON struct {
	Name  string `json:"name"`
	Op    Op     `json:"op,omitempty"`
	Value string `json:"value"`
}

// Matchers is all of several matchers: it matches a set of labels that each of them matches. Empty it matches every set.
type Matchers []Matcher

// Match says whether every matcher matches.
func (ms Matchers) Match(l Labels) bool {
	for _, m := range ms {
		if !m.Matches(l) {
			return false
		}
	}
	return true
}

// String returns the matchers as they are written: {host=~"h.*", severity="critical"}.
func (ms Matchers) String() string {
	parts := make([]string, len(ms))
	for i, m := range ms {
		parts[i] = m.String()
	}
	return "{" + strings.Join(parts, ", ") + "}"
}
