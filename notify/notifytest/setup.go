package notifytest

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/berthage/berthage/notify"
)

// Setup is a notifier to be judged.
type Setup struct {
	// New returns the notifier, which talks through client to a service at url, http://127.0.0.1:port, whatever address the
	// real one has. It is called several times, and once per fake.
	New func(url string, client *notify.Client) (notify.Notifier, error)
	// Fake returns a new, empty service.
	Fake func() Service
	// Secrets are what New configures as keys, tokens and passwords. They must be found nowhere.
	Secrets []string
	// Limits are those of the service, which the fake enforces.
	Limits []Limit

	// Codes are what the service says instead of an HTTP status, if it does not speak HTTP: of SMTP, 451 for 500. A test of such a receiver
	// puts a server before the fake that passes on each message as one request and translates the answer.
	Codes map[int]int
	// Without are the cases that cannot happen in the service's protocol, each with the reason, which Run repeats.
	Without map[string]string

	HasIncident bool // deliveries carry Incident
	HasKey      bool // deliveries carry Key
	Once        bool // a message that is sent again with the same Key is shown once
	NoResolve   bool // the receiver does not want to be told what is resolved
}

// Service is a fake. It serves concurrently and answers what the service would refuse with the status that the service has
// for it.
type Service interface {
	http.Handler
	// Delivered returns what a person at the receiver has before them, oldest first.
	Delivered() []Delivery
	// Harm returns what was delivered and should not have been: a mention of everybody, a header from a name, a search for
	// something else.
	Harm() []string
}

// Delivery is a message as it was received.
type Delivery struct {
	Key      string            // of the message, in whatever form; empty: the channel has none
	Incident string            // likewise
	Status   string            // "firing", "resolved", "event"; empty: the channel does not say
	Text     string            // all that is shown
	Fields   map[string]string // by the names that Limits use
}

// Limit is how long one field may be.
type Limit struct {
	Field string
	Most  int
	Count func(string) int // nil: notify.Runes
	// Message returns a message of which n runes come to stand in the field; nil: the summary of one alert.
	Message func(n int) notify.Message
}

// Firing returns a message about one alert that fires.
func Firing() notify.Message {
	return notify.Message{
		Key: "k1-3f6c2a", Incident: "i-91ab07", Receiver: "ops", GroupKey: `{alertname="HighCPU"}`, Generation: 1, First: true,
		At:          time.Date(2026, 5, 1, 12, 5, 0, 0, time.UTC),
		GroupLabels: map[string]string{"alertname": "HighCPU"},
		Labels:      map[string]string{"alertname": "HighCPU", "severity": "critical"},
		Annotations: map[string]string{"summary": "CPU of web-1 above 80 %"},
		Firing:      []notify.Alert{alert()},
		Link:        "https://berth.example/alerts/91ab07",
	}
}

// Resolved returns the message that ends what Firing began.
func Resolved() notify.Message {
	m := Firing()
	m.Key, m.Generation, m.First, m.At = "k3-77d0e1", 3, false, m.At.Add(time.Hour)
	a := m.Firing[0]
	a.Ends = m.At
	m.Firing, m.Resolved = nil, []notify.Alert{a}
	return m
}

// Update returns a message between the two: one more fires.
func Update() notify.Message {
	m := Firing()
	m.Key, m.Generation, m.First = "k2-5b11c9", 2, false
	a := alert()
	a.Fingerprint, a.Labels = "b2", map[string]string{"alertname": "HighCPU", "severity": "critical", "vm": "web-2"}
	a.Annotations = map[string]string{"summary": "CPU of web-2 above 80 %"}
	m.Firing = append(m.Firing, a)
	return m
}

// Event returns a message about a lost host.
func Event() notify.Message {
	m := Firing()
	m.Key, m.Incident, m.Firing, m.Labels, m.Annotations, m.GroupLabels = "k9-e0", "i-e0", nil, nil, nil, nil
	m.Event = &notify.Event{Kind: "host-lost", Severity: "critical", Title: "Host kvm-7 is lost", Text: "It has not answered for two minutes."}
	return m
}

func alert() notify.Alert {
	return notify.Alert{
		Fingerprint: "a1", Labels: map[string]string{"alertname": "HighCPU", "severity": "critical", "vm": "web-1"},
		Annotations: map[string]string{"summary": "CPU of web-1 above 80 %"}, Value: "93.5",
		Starts: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC), Link: "https://berth.example/vms/web-1",
	}
}

// Run judges a notifier, a subtest for each case.
func Run(t *testing.T, s Setup) {
	t.Helper()
	for name := range s.Without {
		if !slices.ContainsFunc(Cases(), func(c Case) bool { return c.Name == name }) {
			t.Errorf("there is no case %q to go without", name)
		}
	}
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			if why := s.Without[c.Name]; why != "" {
				t.Skipf("cannot happen here: %s", why)
			}
			for _, fault := range c.Judge(t.Context(), s) {
				t.Errorf("%s\nThe rule: %s", fault, c.Rule)
			}
		})
	}
}
