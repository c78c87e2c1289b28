package alert

import "time"

// InhibitRule keeps alerts that Target matches from being told while an alert fires that Source matches and that has the
// same values of the labels Equal; a label that is missing has the empty value. An alert that both match is not inhibited by
// another that both match, itself among them.
type InhibitRule struct {
	Name   string   `json:"name"`
	Source Matchers `json:"source_matchers"`
	Target Matchers `json:"target_matchers"`
	Equal  []string `json:"equal,omitempty"`
}

// inhibitor is what may inhibit, by rule.
type inhibitor struct {
	rules   []InhibitRule
	sources []map[Labels][]source // of each rule, by the labels that have to be equal
}

type source struct {
	alert Alert
	both  bool // the rule's Target matches it, too
}

func newInhibitor(rules []InhibitRule, alerts []Alert) inhibitor {
	in := inhibitor{rules, make([]map[Labels][]source, len(rules))}
	for i, rule := range rules {
		in.sources[i] = make(map[Labels][]source)
		for _, a := range alerts {
			if a.Phase != Pending && rule.Source.Match(a.Labels) {
				equal := a.Labels.Only(rule.Equal...)
				in.sources[i][equal] = append(in.sources[i][equal], source{a, rule.Target.Match(a.Labels)})
			}
		}
	}
	return in
}

// of returns what inhibits an alert with these labels at a moment: of every rule the first alert.
func (in inhibitor) of(l Labels, at time.Time) (by []Cause) {
	for i, rule := range in.rules {
		if !rule.Target.Match(l) {
			continue
		}
		both := rule.Source.Match(l)
		for _, s := range in.sources[i][l.Only(rule.Equal...)] {
			if s.alert.firing(at) && !(both && s.both) {
				by = append(by, Cause{By: ByInhibition, Name: rule.Name, From: s.alert.Labels})
				break
			}
		}
	}
	return by
}
