package browser_test

import (
	"encoding/json"
	"fmt"
	"math"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/examples/berthd/config"
	"github.com/berthage/berthage/examples/berthd/daemon"
	"github.com/berthage/berthage/examples/berthd/history"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
)

// remember gives every series of hosts and instances that there is now a past of most of an hour: counters that go at
// a rate that comes and goes, gauges that do so themselves.
func remember(t *testing.T, d *daemon.Daemon) {
	t.Helper()
	h, now := d.History(), time.Now()
	rows, err := h.Query(t.Context(), `{host!="",__name__!~"up|scrape_.*|berthage_meter.*"}`, now)
	require.NoError(t, err)
	require.NotEmpty(t, rows)
	const steps, every = 3300, time.Second
	wave := func(n, step int) float64 {
		return 0.6 + 0.3*math.Sin(float64(step)/450+float64(n)) + 0.1*math.Sin(float64(step)/40+float64(n))
	}
	rate := func(name string) float64 { // per second, at most
		switch {
		case strings.Contains(name, "bytes"):
			return 300_000
		case strings.HasPrefix(name, "berthage_host"):
			return 30 // cores of 32
		}
		return 0.9
	}
	was := make([]float64, len(rows)) // so that counters end where they are now
	for n, r := range rows {
		was[n] = r.Value
		for step := range steps {
			was[n] -= every.Seconds() * rate(r.Labels[model.MetricNameLabel]) * wave(n, step+1)
		}
	}
	for step := steps; step > 0; step-- {
		var batch []history.Sample
		for n, r := range rows {
			v := r.Value
			name := r.Labels[model.MetricNameLabel]
			switch {
			case strings.HasSuffix(name, "_total"):
				was[n] += every.Seconds() * rate(name) * wave(n, step)
				v = was[n]
			case strings.Contains(name, "used"), strings.Contains(name, "Available"), strings.Contains(name, "free"), strings.Contains(name, "allocated"):
				v *= wave(n, step)
			}
			batch = append(batch, history.Sample{Labels: labels.FromMap(r.Labels), Time: now.Add(-time.Duration(step) * every).UnixMilli(), Value: v})
		}
		require.NoError(t, h.Append(t.Context(), batch))
	}
}

// Somebody looks at what hosts and instances were doing: by mouse and by keyboard, as a picture and as numbers, all of
// which are the API's.
func TestCharts(t *testing.T) {
	b := open(t, 1600, 1100)
	d := shaped(t, 3, func(c *fake.Config) {
		even(c)
		for n := range c.Hosts {
			c.Hosts[n].Devices = []pool.Device{{ID: "disks", Class: pool.StorageStandard, Inventory: pool.Inventory{Total: 4 * pool.TiB}}}
		}
	}, func(c *config.Config) { c.History = time.Second })
	for n := range 4 {
		require.NoError(t, launch(d.Manager(), fmt.Sprint("web-", n), pool.Spec{Image: "debian-12", Flavor: "small", Networks: []pool.Network{{}}}))
	}
	eventually(t, func() bool { return status(d)["running"] == 4 }, "instances")
	eventually(t, func() bool {
		rows, err := d.History().Query(t.Context(), `count_over_time(libvirt_domain_info_cpu_time_seconds_total[1m]) >= 5`, time.Now())
		return err == nil && len(rows) == 4
	}, "readings")
	remember(t, d)

	b.visit(d.SignInLink())
	require.Equal(t, 1, eval[int](b, `document.querySelectorAll('header a[href="/charts"]').length`))
	b.do(chromedp.Navigate(d.URL() + "/charts"))
	b.until(`document.body.dataset.loaded && document.querySelector("#charts").dataset.shown`)
	require.Equal(t, 3, eval[int](b, `document.querySelectorAll("#busiest-rows tr").length`))
	require.Empty(t, eval[[]string](b, unnamed), "everything that can be pressed or filled in has a name")

	// An instance, chosen by the keyboard.
	b.do(chromedp.SetValue(chromedp.CSS("#busiest-of"), "instances"))
	b.do(chromedp.Evaluate[chromedp.Void](`void document.querySelector("#busiest-of").dispatchEvent(new Event("input"))`))
	b.until(`document.querySelectorAll("#busiest-rows tr").length === 4`)
	b.do(chromedp.Evaluate[chromedp.Void](`void document.querySelector("#busiest-rows button").focus()`), chromedp.KeyEvent("\r"))
	id := eval[string](b, `document.querySelector("#busiest-rows tr").dataset.id`)
	b.until(fmt.Sprintf(`document.querySelector("#charts").dataset.shown === %q`, id))
	require.Equal(t, id, eval[string](b, `document.querySelector("#busiest-rows tr[aria-current=true]").dataset.id`))
	require.Contains(t, eval[string](b, "location.search"), "id="+id)
	require.Equal(t, []string{"cpu", "memory", "disk", "disk_io", "network", "load"}, eval[[]string](b, `[...document.querySelectorAll(".chart")].map((c) => c.dataset.figure)`))
	for figure, curves := range map[string]int{"cpu": 1, "memory": 1, "disk": 1, "disk_io": 2, "network": 2, "load": 1} {
		chart := fmt.Sprintf(`document.querySelector('.chart[data-figure=%q]')`, figure)
		points, err := strconv.Atoi(eval[string](b, chart+".dataset.points"))
		require.NoError(t, err)
		require.Greater(t, points, 150, "%s: most of an hour", figure)
		require.Equal(t, curves, eval[int](b, chart+`.querySelectorAll(".plot .curve").length`), figure)
		require.Regexp(t, `from .* to .*: .*now .*on average .*at most`, eval[string](b, chart+`.querySelector(".plot svg").getAttribute("aria-label")`))
		require.True(t, eval[bool](b, chart+`.querySelector(".none").hidden`))
	}

	// The numbers are the API's.
	to := time.Now().Add(-10 * time.Minute).Truncate(time.Minute)
	var got struct {
		Figures []struct {
			Figure string
			Curves []struct{ Points [][2]float64 }
		}
	}
	b.do(chromedp.SetValue(chromedp.CSS("#range"), ""))
	b.do(chromedp.Evaluate[chromedp.Void](`void (document.querySelector("#range").dispatchEvent(new Event("input")), document.querySelector("#every").value = "0", document.querySelector("#every").dispatchEvent(new Event("input")))`))
	b.until(`!document.querySelector("#between").hidden`)
	local := func(at time.Time) string { return at.Local().Format("2006-01-02T15:04") }
	b.fill("#from", local(to.Add(-20*time.Minute)))
	b.fill("#until", local(to))
	require.NoError(t, json.NewDecoder(api(t, d, fmt.Sprintf("/api/v1/instances/%s/history?from=%s&to=%s", id, url.QueryEscape(to.Add(-20*time.Minute).UTC().Format(time.RFC3339)), url.QueryEscape(to.UTC().Format(time.RFC3339)))).Body).Decode(&got))
	points := got.Figures[0].Curves[0].Points
	require.NotEmpty(t, points)
	b.until(fmt.Sprintf(`document.querySelector('.chart[data-figure=cpu]').dataset.points === "%d"`, len(points)))
	b.press(".chart[data-figure=cpu] summary")
	b.until(fmt.Sprintf(`document.querySelectorAll(".chart[data-figure=cpu] tbody tr").length === %d`, len(points)))
	require.Equal(t, fmt.Sprintf("%.3g %%", points[len(points)-1][1]), eval[string](b, `document.querySelector(".chart[data-figure=cpu] tbody td").textContent`))

	// Along a chart by the keyboard.
	b.do(chromedp.Evaluate[chromedp.Void](`void document.querySelector(".chart[data-figure=network] .plot svg").focus()`))
	b.do(chromedp.Evaluate[chromedp.Void](`void document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key: "Home" }))`))
	first := b.text(".chart[data-figure=network] .at")
	require.Regexp(t, `: received .*/s, transmitted .*/s$`, first)
	b.do(chromedp.Evaluate[chromedp.Void](`void document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight" }))`))
	require.NotEqual(t, first, b.text(".chart[data-figure=network] .at"))
	require.Equal(t, 2, eval[int](b, `document.querySelectorAll(".chart[data-figure=network] circle").length`))

	// A range that nobody can ask for is said where the charts are.
	b.fill("#from", local(to.Add(time.Hour)))
	b.until(`document.querySelector("#charts-problem .problem[role=alert]")`)
	b.clean("status of 422")

	// A host, by the address; the picture; a narrow screen; the other theme.
	b.do(chromedp.Navigate(d.URL() + "/charts?of=hosts&id=" + url.QueryEscape("sim/node-0001")))
	b.until(`document.body.dataset.loaded && document.querySelector("#charts").dataset.shown === "sim/node-0001"`)
	b.until(`document.querySelector("#charts-title").textContent !== "sim/node-0001"`)
	b.screenshot(os.Getenv("BERTHD_SCREENSHOT_CHARTS"))
	before := eval[string](b, `getComputedStyle(document.querySelector(".curve")).stroke`)
	b.press("#theme")
	require.NotEqual(t, before, eval[string](b, `getComputedStyle(document.querySelector(".curve")).stroke`))
	b.do(chromedp.EmulateViewport(390, 800))
	require.LessOrEqual(t, eval[int](b, "document.documentElement.scrollWidth"), 390)
	b.clean("status of 422")
}

// A daemon that keeps no history says so.
func TestChartsOfNothing(t *testing.T) {
	b := open(t, 1000, 800)
	d := shaped(t, 1, func(*fake.Config) {}, func(c *config.Config) { c.History = 0 })
	b.visit(d.SignInLink())
	b.do(chromedp.Navigate(d.URL() + "/charts"))
	b.until(`document.querySelector("#away")?.offsetParent`)
	require.Contains(t, b.text("#away"), "keeps no history")
	b.clean("status of 503")
}
