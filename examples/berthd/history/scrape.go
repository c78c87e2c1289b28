package history

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/berthage/berthage"
)

// Target is something whose metrics are fetched.
type Target struct {
	URL       string            // http or https
	Job       string            // label job
	Labels    map[string]string // of all its series; those that name a host or a vm_id are completed by the books
	Interval  time.Duration     // 0: the history's
	Timeout   time.Duration     // 0: 10 s, and no longer than the interval
	TokenFile string            // of a bearer token, read anew each time; empty: none is sent
	CAFile    string            // whose certificates are trusted instead of the system's; empty: the system's
}

// Bounds of what one target may say.
const (
	mostText    = 16 << 20 // bytes
	mostSamples = 50_000
	mostLabels  = 64
	mostName    = 1 << 10 // bytes of a label's name
	mostValue   = 4 << 10 // bytes of a label's value
)

// Scraper fetches the metrics of targets, each by itself.
type Scraper struct {
	History *History
	Manager *berthage.Manager
	Fleet   Fleet
	Targets []Target
	Self    func(io.Writer) error // writes the daemon's own metrics, kept as those of the job berthd; nil: they are not
	Logger  *slog.Logger          // nil: nothing is logged
}

// source is a target that is ready to be read.
type source struct {
	labels   map[string]string
	name     string // for the log
	interval time.Duration
	timeout  time.Duration
	read     func(context.Context) ([]byte, error)
}

// Run fetches until ctx ends. The error is of a target that can never be fetched, and comes before anything is.
func (s *Scraper) Run(ctx context.Context) error {
	if s.Logger == nil {
		s.Logger = slog.New(slog.DiscardHandler)
	}
	sources, err := s.sources()
	if err != nil {
		return err
	}
	var all sync.WaitGroup
	for _, one := range sources {
		all.Go(func() { s.follow(ctx, one) })
	}
	all.Wait()
	return nil
}

// Check reports what is wrong with the targets.
func (s *Scraper) Check() error {
	_, err := s.sources()
	return err
}

func (s *Scraper) sources() ([]source, error) {
	var out []source
	if s.Self != nil {
		out = append(out, source{map[string]string{"job": "berthd"}, "berthd itself", s.History.Interval(), s.History.Interval(), func(context.Context) ([]byte, error) {
			var b bytes.Buffer
			err := s.Self(&b)
			return b.Bytes(), err
		}})
	}
	for _, t := range s.Targets {
		u, err := url.Parse(t.URL)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return nil, fmt.Errorf("scrape: %q is no URL of http or https", t.URL)
		}
		one := source{maps.Clone(t.Labels), u.Redacted(), t.Interval, t.Timeout, nil}
		if one.labels == nil {
			one.labels = make(map[string]string)
		}
		for name, value := range one.labels {
			if !model.LegacyValidation.IsValidLabelName(name) || strings.HasPrefix(name, "__") || value == "" {
				return nil, fmt.Errorf("scrape %s: %q=%q is no label", one.name, name, value)
			}
		}
		for name, value := range map[string]string{"job": t.Job, "instance": u.Host} {
			if one.labels[name] == "" && value != "" {
				one.labels[name] = value
			}
		}
		if one.interval == 0 {
			one.interval = s.History.Interval()
		}
		if one.timeout == 0 {
			one.timeout = min(10*time.Second, one.interval)
		}
		if one.interval < time.Second || one.timeout < 0 || one.timeout > one.interval {
			return nil, fmt.Errorf("scrape %s: an interval of at least 1s, and a timeout that is no longer, are needed", one.name)
		}
		if one.read, err = fetcher(t); err != nil {
			return nil, fmt.Errorf("scrape %s: %w", one.name, err)
		}
		out = append(out, one)
	}
	return out, nil
}

// fetcher returns a function that fetches a target's metrics. It goes where it is told and nowhere else.
func fetcher(t Target) (func(context.Context) ([]byte, error), error) {
	transport := &http.Transport{Proxy: nil, MaxIdleConns: 1, IdleConnTimeout: 5 * time.Minute, MaxResponseHeaderBytes: 64 << 10}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, err
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", t.CAFile)
		}
		transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	}
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return func(ctx context.Context) ([]byte, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, t.URL, nil)
		if err != nil {
			return nil, err
		}
		r.Header.Set("Accept", "text/plain;version=0.0.4")
		r.Header.Set("User-Agent", "berthd")
		if t.TokenFile != "" {
			token, err := os.ReadFile(t.TokenFile)
			if err != nil {
				return nil, err
			}
			r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
		}
		res, err := client.Do(r)
		if err != nil {
			return nil, err
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("answered %s", res.Status)
		}
		b, err := io.ReadAll(io.LimitReader(res.Body, mostText+1))
		if len(b) > mostText {
			return nil, fmt.Errorf("the text is larger than %d bytes", mostText)
		}
		return b, err
	}, nil
}

func (s *Scraper) follow(ctx context.Context, one source) {
	c := newCollector(s.History)
	defer func() { _ = c.end(context.WithoutCancel(ctx), time.Now().UnixMilli()) }() // what it was is the past in any case
	tick := time.NewTicker(one.interval)
	defer tick.Stop()
	for {
		s.scrape(ctx, c, one)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// scrape stores what a target says now, and whether it said anything.
func (s *Scraper) scrape(ctx context.Context, c *collector, one source) {
	base := s.Fleet.Complete(s.Manager, labels.FromMap(one.labels))
	began := time.Now()
	limited, cancel := context.WithTimeout(ctx, one.timeout)
	text, err := one.read(limited)
	cancel()
	if ctx.Err() != nil {
		return
	}
	var list []reading
	if err == nil {
		list, err = s.parse(base, text, began.UnixMilli())
	}
	up := 1.0
	if err != nil {
		up, list = 0, nil // and all its series end, as Prometheus has it
		s.Logger.Debug("a target could not be scraped", "target", one.name, "error", err)
	}
	err = c.store(ctx, began.UnixMilli(), list)
	at := began.UnixMilli()
	err = errors.Join(err, s.History.Append(ctx, []Sample{
		{named(base, "up", "", ""), at, up},
		{named(base, "scrape_duration_seconds", "", ""), at, time.Since(began).Seconds()},
		{named(base, "scrape_samples_scraped", "", ""), at, float64(len(list))},
	}))
	if err != nil && ctx.Err() == nil {
		s.Logger.Log(ctx, levelOf(err), "scraped samples were not kept", "target", one.name, "error", err)
	}
}

// parse reads the text format. A label of the target's wins over one of the same name in the text, which is kept as
// exported_ and its name.
func (s *Scraper) parse(base labels.Labels, text []byte, at int64) ([]reading, error) {
	p := expfmt.NewTextParser(model.LegacyValidation)
	families, err := p.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	var list []reading
	for _, name := range slices.Sorted(maps.Keys(families)) {
		f := families[name]
		vector, err := expfmt.ExtractSamples(&expfmt.DecodeOptions{Timestamp: model.Time(at)}, f)
		if err != nil {
			return nil, err
		}
		s.History.described.put(name, Metadata{Type: typeOf(f.GetType()), Help: f.GetHelp()})
		for _, v := range vector {
			if len(list) == mostSamples {
				return nil, fmt.Errorf("more than %d samples", mostSamples)
			}
			b := labels.NewBuilder(base)
			for n, value := range v.Metric {
				if base.Has(string(n)) {
					n = model.ExportedLabelPrefix + n
				}
				b.Set(string(n), string(value))
			}
			l := b.Labels()
			if err := Bounded(l); err != nil {
				return nil, err
			}
			list = append(list, reading{Sample: Sample{l, at, float64(v.Value)}})
		}
	}
	return list, nil
}

// typeOf is the type of a family as metadata has it.
func typeOf(t dto.MetricType) string {
	if t == dto.MetricType_UNTYPED {
		return "unknown"
	}
	return strings.ToLower(t.String())
}

// Bounded reports labels of a size that is not kept.
func Bounded(l labels.Labels) error {
	if l.Len() > mostLabels {
		return fmt.Errorf("a series has %d labels, more than %d", l.Len(), mostLabels)
	}
	return l.Validate(func(x labels.Label) error {
		if len(x.Name) > mostName || len(x.Value) > mostValue {
			return fmt.Errorf("a label %.64q is larger than %d bytes, or its value than %d", x.Name, mostName, mostValue)
		}
		return nil
	})
}
