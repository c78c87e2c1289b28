package alerting

import (
	"maps"

	"github.com/berthage/berthage/alert"
	"github.com/berthage/berthage/notify"
)

// Message returns the message as a receiver gets it, from a ledger of that identity. Link is where a person sees more; it may be empty.
func (m *Message) Message(ledger, link string) notify.Message {
	out := notify.Message{Key: m.Key, Incident: m.Incident(ledger), Receiver: m.Receiver, At: m.Queued, Link: link}
	if e := m.Event; e != nil {
		out.GroupKey, out.First = EventLabel+":"+e.Kind, true
		out.Labels = e.Labels.Map()
		out.GroupLabels = map[string]string{EventLabel: e.Kind}
		out.Event = &notify.Event{Kind: e.Kind, Severity: string(e.Severity), Title: e.Title, Text: e.Text}
		return out
	}
	n := m.Notification
	out.GroupKey, out.Generation, out.Step, out.At = n.Group, n.Generation, n.Step, n.At
	out.First = n.Reason == alert.First
	out.GroupLabels = n.Labels.Map()
	out.Firing, out.Resolved = alerts(n.Firing), alerts(n.Resolved)
	out.FiringMore = len(n.FiringToo)
	if !n.FiringOnly {
		out.ResolvedMore = len(n.ResolvedToo)
	}
	out.Labels, out.Annotations = common(append(n.Firing[:len(n.Firing):len(n.Firing)], n.Resolved...), n.Labels)
	return out
}

func alerts(all []alert.Told) []notify.Alert {
	out := make([]notify.Alert, 0, len(all))
	for _, t := range all {
		out = append(out, notify.Alert{
			Fingerprint: string(t.Labels.Fingerprint()), Labels: t.Labels.Map(), Annotations: t.Annotations,
			Value: t.Value, Starts: t.Starts, Ends: t.Ends, By: t.By,
		})
	}
	return out
}

// common returns what all have in common; of none, what the group has.
func common(all []alert.Told, group alert.Labels) (labels, annotations map[string]string) {
	if len(all) == 0 {
		return group.Map(), nil
	}
	labels, annotations = all[0].Labels.Map(), maps.Clone(all[0].Annotations)
	for _, t := range all[1:] {
		maps.DeleteFunc(labels, func(name, value string) bool { return t.Labels.Get(name) != value })
		maps.DeleteFunc(annotations, func(name, text string) bool { return t.Annotations[name] != text })
	}
	return labels, annotations
}
