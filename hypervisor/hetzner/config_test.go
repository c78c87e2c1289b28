package hetzner_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/hetzner"
	"github.com/berthage/berthage/pool"
)

func TestConfig(t *testing.T) {
	t.Parallel()
	for what, tc := range map[string]struct {
		change func(*hetzner.Config)
		field  string
	}{
		"no token":            {func(c *hetzner.Config) { c.Token = "" }, "token"},
		"a token of lines":    {func(c *hetzner.Config) { c.Token = "a-secret\nb" }, "token"},
		"driver's name":       {func(c *hetzner.Config) { c.Name = "a/b" }, "name"},
		"endpoint":            {func(c *hetzner.Config) { c.Endpoint = "https://user:a-secret@api.example" }, "endpoint"},
		"endpoint's scheme":   {func(c *hetzner.Config) { c.Endpoint = "ftp://api.example" }, "endpoint"},
		"no location":         {func(c *hetzner.Config) { c.Locations = nil }, "locations"},
		"location's name":     {func(c *hetzner.Config) { c.Locations[0].Location = "Fsn 1" }, "locations[0].location"},
		"location twice":      {func(c *hetzner.Config) { c.Locations = append(c.Locations, c.Locations[0]) }, "locations[1].location"},
		"no limit of servers": {func(c *hetzner.Config) { c.Locations[0].Servers = 0 }, "locations[0].servers"},
		"cores":               {func(c *hetzner.Config) { c.Locations[0].Cores = -1 }, "locations[0].cores"},
		"volume space":        {func(c *hetzner.Config) { c.Locations[0].VolumeSpace = math.MaxInt64 }, "locations[0].volume_space"},
		"zone":                {func(c *hetzner.Config) { c.Locations[0].Zone = "\x00" }, "zone"},
		"cost":                {func(c *hetzner.Config) { c.Locations[0].Cost = -1 }, "cost"},
		"architecture":        {func(c *hetzner.Config) { c.Architecture = "vax" }, "architecture"},
		"public":              {func(c *hetzner.Config) { c.Public = "all" }, "public"},
		"types":               {func(c *hetzner.Config) { c.Types = []string{"cx22", "cx22"} }, "types[1]"},
		"keys":                {func(c *hetzner.Config) { c.SSHKeys = []string{""} }, "ssh_keys[0]"},
		"one kind of storage": {func(c *hetzner.Config) { c.VolumeStorage = pool.Standard }, "volume_storage"},
		"kind of storage":     {func(c *hetzner.Config) { c.LocalStorage = "A b" }, "local_storage"},
		"group":               {func(c *hetzner.Config) { c.GroupLabel = "\n" }, "group_label"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			c := hetzner.Config{Token: "t", Locations: []hetzner.LocationConfig{{Location: "fsn1", Servers: 1}}}
			tc.change(&c)
			_, err := hetzner.New(c)
			var e *pool.Error
			require.ErrorIs(t, err, pool.ErrInvalid)
			require.ErrorAs(t, err, &e)
			require.Contains(t, e.Field, tc.field)
			require.NotContains(t, err.Error(), "a-secret")
		})
	}
	d, err := hetzner.New(hetzner.Config{Token: "t", Locations: []hetzner.LocationConfig{{Location: "fsn1", Servers: 1}}})
	require.NoError(t, err)
	require.Equal(t, hypervisor.Capabilities{}, d.Describe("hetzner/nbg1"))
	require.True(t, d.Describe("hetzner/fsn1").CreateUnique)
}

// labelRule is the service's rule for the values of labels.
const labelRule = `^(()|[a-z0-9A-Z]|([a-z0-9A-Z][a-z0-9A-Z\._-]{0,61}[a-z0-9A-Z]))$`

func TestTagsInLabels(t *testing.T) {
	t.Parallel()
	value := regexp.MustCompile(labelRule)
	m := pool.NewInstanceID("l", "p", "t")
	for _, ledger := range []string{"l", "ledger-01.a_b", "-", "a b", "ä", strings.Repeat("x", 63), strings.Repeat("x", 64), strings.Repeat("機", 85), `"]]>`, "ends-"} {
		tag := hypervisor.Tag{Ledger: ledger, Machine: m.Machine(math.MaxInt32), Launched: math.MaxInt64}
		labels := hetzner.TagLabels(tag, "fsn1")
		for k, v := range labels {
			require.Regexp(t, value, v, k)
		}
		got, ok := hetzner.ReadTag(labels, "fsn1")
		require.True(t, ok, ledger)
		require.Equal(t, tag, got)
		_, ok = hetzner.ReadTag(labels, "nbg1")
		require.False(t, ok, "of another location")
		for k := range labels {
			broken := make(map[string]string)
			for other, v := range labels {
				if other != k {
					broken[other] = v
				}
			}
			got, ok := hetzner.ReadTag(broken, "fsn1")
			require.False(t, ok && got == tag, "%q without %s", ledger, k)
		}
	}
	for _, launched := range []string{"", "01", "+1", "-1", "1 ", "9223372036854775808"} {
		labels := hetzner.TagLabels(hypervisor.Tag{Ledger: "l", Machine: m.Machine(0)}, "fsn1")
		labels["berthage-launched"] = launched
		_, ok := hetzner.ReadTag(labels, "fsn1")
		require.False(t, ok, launched)
	}
}

func FuzzText(f *testing.F) {
	for _, s := range []string{"", "a", "-", "a b", "\x00\xff"} {
		f.Add(s)
	}
	value := regexp.MustCompile(labelRule)
	f.Fuzz(func(t *testing.T, s string) {
		labels := make(map[string]string)
		hetzner.WriteText(labels, "k", s)
		for _, v := range labels {
			require.Regexp(t, value, v)
		}
		require.Equal(t, s, hetzner.ReadText(labels, "k"))
	})
}

func TestMillionths(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]int64{
		"0": 0, "1": 1_000_000, "0.006": 6000, "0.0060000000": 6000, "0.0060000001": 6001, "12.3456789": 12_345_679, "0.000000000000000000000000000001": 1,
		"999999999999.999999": 999_999_999_999_999_999,
	} {
		got, err := hetzner.Millionths(s)
		require.NoError(t, err, s)
		require.Equal(t, want, got, s)
	}
	for _, s := range []string{"", ".5", "-1", "1e3", "1,5", "0x1", "9999999999999", "1.2.3", " 1", strings.Repeat("1", 50)} {
		_, err := hetzner.Millionths(s)
		require.Error(t, err, s)
	}
}

// A console shows nothing of itself to whatever prints it.
func TestConsoleKeepsItsSecrets(t *testing.T) {
	t.Parallel()
	f := cloud(t, fast())
	s := &stage{t: t, f: f, d: open(t, config(t, f)), o: placed(order("debian-12"), "fsn1", 0)}
	_, err := s.d.Console(t.Context(), s.o.Ref)
	require.ErrorIs(t, err, hypervisor.ErrNotFound)
	s.must(s.d.Create(t.Context(), s.o))
	_, err = s.d.Console(t.Context(), s.o.Ref)
	require.ErrorIs(t, err, hypervisor.ErrWrongPower)
	s.must(s.d.Start(t.Context(), s.o.Ref))
	c, err := s.d.Console(t.Context(), s.o.Ref)
	require.NoError(t, err)
	url, password := c.Reveal()
	require.Contains(t, url, "wss://")
	require.Equal(t, "console-password-of-the-test", password)
	b, err := json.Marshal(map[string]any{"console": c, "pointer": &c})
	require.NoError(t, err)
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "console", c, "all", []any{c})
	shown := string(b) + log.String() + fmt.Sprint(c) + fmt.Sprintf("%v %+v %#v %s %q %x", c, c, c, c, c, c) + fmt.Sprintf("%v %+v", &c, struct{ C hetzner.Console }{c}) +
		errors.Join(fmt.Errorf("x: %v", c)).Error()
	for _, secret := range []string{"console-token-of-the-test", "wss://", "console-password-of-the-test", fmt.Sprintf("%x", password)} {
		require.NotContains(t, shown, secret)
	}
}
