package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/berthage/berthage/alert"
	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/notify/webhook"
)

// syntax is which label names and matchers are read.
type syntax alert.Syntax

// name refuses what is no name of a label.
func (s syntax) name(name string) error {
	for i := range len(name) {
		c := name[i]
		if s == syntax(alert.ClassicSyntax) && c != '_' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (i == 0 || c < '0' || c > '9') {
			return fmt.Errorf("name %q is not of ASCII letters, digits and underscores", name)
		}
	}
	return nil
}

func (s syntax) matchers(texts ...string) (all alert.Matchers, err error) {
	for _, text := range texts {
		ms, err := alert.ParseMatchers(text, alert.Syntax(s))
		if err != nil {
			return nil, err
		}
		all = append(all, ms...)
	}
	return all, nil
}

// file is a configuration as it is written.
type file struct {
	Global struct {
		ResolveTimeout duration `yaml:"resolve_timeout"`
	}
	Templates         []string
	Route             *route
	Receivers         []receiver
	InhibitRules      []inhibitRule `yaml:"inhibit_rules"`
	TimeIntervals     []times       `yaml:"time_intervals"`
	MuteTimeIntervals []times       `yaml:"mute_time_intervals"`
}

type duration alert.Duration

// UnmarshalText reads a duration as Prometheus writes it.
func (d *duration) UnmarshalText(b []byte) error {
	read, err := alert.ParseDuration(string(b))
	*d = duration(read)
	return err
}

type route struct {
	Receiver  string
	Match     map[string]string
	MatchRE   map[string]string `yaml:"match_re"`
	Matchers  []string
	GroupBy   []string  `yaml:"group_by"`
	Wait      *duration `yaml:"group_wait"`
	Interval  duration  `yaml:"group_interval"`
	Repeat    duration  `yaml:"repeat_interval"`
	MuteTimes []string  `yaml:"mute_time_intervals"`
	Active    []string  `yaml:"active_time_intervals"`
	Continue  bool
	Routes    []route
}

type receiver struct {
	Name     string
	Webhooks []struct {
		URL          string
		SendResolved *bool `yaml:"send_resolved"`
		Timeout      duration
	} `yaml:"webhook_configs"`
}

type inhibitRule struct {
	Source         map[string]string `yaml:"source_match"`
	SourceRE       map[string]string `yaml:"source_match_re"`
	SourceMatchers []string          `yaml:"source_matchers"`
	Target         map[string]string `yaml:"target_match"`
	TargetRE       map[string]string `yaml:"target_match_re"`
	TargetMatchers []string          `yaml:"target_matchers"`
	Equal          []string
}

// times has what alert.Times has, which is read from JSON.
type times struct {
	Name      string `json:"name"`
	Intervals []struct {
		Times []struct {
			Start string `json:"start_time" yaml:"start_time"`
			End   string `json:"end_time" yaml:"end_time"`
		} `json:"times"`
		Weekdays    []string `json:"weekdays"`
		DaysOfMonth []string `json:"days_of_month" yaml:"days_of_month"`
		Months      []string `json:"months"`
		Years       []string `json:"years"`
		Location    string   `json:"location"`
	} `json:"time_intervals" yaml:"time_intervals"`
}

// config is a configuration as it is used.
type config struct {
	text       string
	resolve    time.Duration
	routing    alert.Routing
	inhibit    []alert.InhibitRule
	receivers  []string            // their names, in order
	ways       map[string]notified // what a receiver consists of, each by a name of its own
	firingOnly func(way string) bool
}

// notified is one way of telling a receiver.
type notified struct {
	receiver string
	notify.Notifier
	firingOnly bool
}

// read reads a configuration. What this program does not have it refuses.
func read(text []byte, names syntax) (*config, error) {
	var f file
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(&f); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if f.Route == nil || f.Route.Receiver == "" {
		return nil, errors.New("there is no route with a receiver")
	}
	c := &config{text: string(text), resolve: time.Duration(f.Global.ResolveTimeout), ways: make(map[string]notified)}
	c.firingOnly = func(way string) bool { return c.ways[way].firingOnly }
	of := make(map[string][]string)
	for _, r := range f.Receivers {
		if r.Name == "" || of[r.Name] != nil {
			return nil, fmt.Errorf("receiver %q: a name of which there is one", r.Name)
		}
		var err error
		if of[r.Name], err = c.receiver(r); err != nil {
			return nil, fmt.Errorf("receiver %q: %w", r.Name, err)
		}
	}
	for i, rule := range f.InhibitRules {
		source, err := names.all(rule.Source, rule.SourceRE, rule.SourceMatchers)
		target, err2 := names.all(rule.Target, rule.TargetRE, rule.TargetMatchers)
		if err := errors.Join(err, err2); err != nil {
			return nil, fmt.Errorf("inhibit_rules[%d]: %w", i, err)
		}
		c.inhibit = append(c.inhibit, alert.InhibitRule{Name: strconv.Itoa(i), Source: source, Target: target, Equal: rule.Equal})
	}
	for _, t := range slices.Concat(f.TimeIntervals, f.MuteTimeIntervals) {
		b, err := json.Marshal(t)
		if err != nil {
			return nil, err
		}
		var read alert.Times
		if err := json.Unmarshal(b, &read); err != nil {
			return nil, fmt.Errorf("time interval %q: %w", t.Name, err)
		}
		c.routing.Times = append(c.routing.Times, read)
	}
	var err error
	if c.routing.Root, err = names.route(*f.Route, of); err != nil {
		return nil, err
	}
	return c, c.routing.Validate()
}

// receiver notes the ways of a receiver and returns their names. One that has none is told, and does nothing about it: it
// must not be taken for one that is left out.
func (c *config) receiver(r receiver) (ways []string, err error) {
	c.receivers = append(c.receivers, r.Name)
	for i, w := range r.Webhooks {
		n, err := webhook.New(webhook.Config{URL: notify.NewSecret(w.URL), HTTP: notify.NewClient(notify.ClientConfig{
			Timeout: time.Duration(w.Timeout),
			Guard:   notify.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}}, // whoever writes the file may call anything
		})})
		if err != nil {
			return nil, fmt.Errorf("webhook_configs[%d]: %w", i, err)
		}
		ways = append(ways, r.Name+"/webhook["+strconv.Itoa(i)+"]")
		c.ways[ways[i]] = notified{receiver: r.Name, Notifier: n, firingOnly: w.SendResolved != nil && !*w.SendResolved}
	}
	if len(ways) == 0 {
		ways = []string{r.Name}
		c.ways[r.Name] = notified{receiver: r.Name}
	}
	return ways, nil
}

// all returns matchers from the three ways in which they are written.
func (s syntax) all(equal, re map[string]string, texts []string) (all alert.Matchers, err error) {
	for op, values := range map[alert.Op]map[string]string{alert.Equal: equal, alert.Match: re} {
		for _, name := range slices.Sorted(maps.Keys(values)) {
			m, err := alert.NewMatcher(name, op, values[name])
			if err != nil {
				return nil, err
			}
			all = append(all, m)
		}
	}
	ms, err := s.matchers(texts...)
	if err != nil {
		return nil, err
	}
	all = append(all, ms...)
	slices.SortStableFunc(all, func(a, b alert.Matcher) int { return bytes.Compare([]byte(a.String()), []byte(b.String())) })
	return all, nil
}

func (s syntax) route(r route, of map[string][]string) (alert.Route, error) {
	match, err := s.all(r.Match, r.MatchRE, r.Matchers)
	if err != nil {
		return alert.Route{}, err
	}
	ways, ok := of[r.Receiver]
	if r.Receiver != "" && !ok {
		return alert.Route{}, fmt.Errorf("a route names receiver %q, which there is not", r.Receiver)
	}
	out := alert.Route{
		Match: match, Receivers: ways, GroupBy: r.GroupBy, Interval: alert.Duration(r.Interval), Repeat: alert.Duration(r.Repeat),
		Mute: r.MuteTimes, Active: r.Active, Continue: r.Continue,
	}
	if r.Wait != nil {
		if out.Wait = alert.Duration(*r.Wait); out.Wait == 0 {
			out.Wait = -1
		}
	}
	for _, child := range r.Routes {
		below, err := s.route(child, of)
		if err != nil {
			return alert.Route{}, err
		}
		out.Routes = append(out.Routes, below)
	}
	return out, nil
}
