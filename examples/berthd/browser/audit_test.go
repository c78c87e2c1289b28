package browser_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/examples/berthd/config"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
)

// command gives a command to the daemon with its token.
func command(t *testing.T, base, token, method, path, body string, want int) {
	t.Helper()
	req, err := http.NewRequest(method, base+path, strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Request-Id", "order-"+filepath.Base(path))
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, want, res.StatusCode)
}

// Somebody looks at who has had what done, narrows it down, and sees all that belongs to one request.
func TestAuditOnItsPage(t *testing.T) {
	b := open(t, 1400, 900)
	d := shaped(t, 2, func(*fake.Config) {})
	for n := range 3 {
		command(t, d.URL(), d.Token(), http.MethodPut, fmt.Sprintf("/api/v1/projects/p%d", n), `{"quota": {"cpu": 4000}}`, http.StatusOK)
	}
	b.visit(d.SignInLink())
	b.do(chromedp.Navigate(d.URL() + "/audit"))
	b.until(`document.body.dataset.loaded && document.querySelector("#entries-list tr")`)
	require.Contains(t, b.text("#head-facts"), d.Manager().Status().Ledger)
	require.Contains(t, b.text("#head-hint"), "--audit-key")
	require.True(t, eval[bool](b, `document.querySelector("#head-save").hidden`))
	require.Equal(t, 3, eval[int](b, `[...document.querySelectorAll("#entries-list tr")].filter((r) => r.textContent.includes("put-project")).length`))
	require.Contains(t, b.text("#entries-list"), "127.0.0.1")
	require.Empty(t, eval[[]string](b, unnamed), "everything that can be pressed or filled in has a name")
	if name := os.Getenv("BERTHD_SCREENSHOT_AUDIT"); name != "" {
		b.screenshot(name)
	}
	b.press(`#entries-list [data-correlation="order-p1"]`)
	b.until(`document.querySelector("#entries").dataset.shown === "2"`)
	require.Contains(t, b.text("#entries-list"), "project.put")
	b.do(chromedp.Evaluate[chromedp.Void](`void (document.querySelector("#filter-correlation").value = "")`))
	b.fill("#filter-actor", "nobody")
	b.press("#filter-show")
	b.until(`document.querySelector("#entries-end").textContent.includes("nothing like that")`)
	b.clean()
}

// Somebody sees what projects use and what it costs, asks for more, and it is granted: by keyboard.
func TestUsageOnItsPage(t *testing.T) {
	prices := filepath.Join(t.TempDir(), "prices.yml")
	require.NoError(t, os.WriteFile(prices, []byte("currency: EUR\nclasses: {cpu: 36, memory: 4.5, storage.ssd: 0.05, storage.nvme: 0.09, storage.standard: 0.02}\n"), 0o600))
	b := open(t, 1400, 900)
	d := shaped(t, 12, func(*fake.Config) {}, func(c *config.Config) { c.Prices = prices })
	command(t, d.URL(), d.Token(), http.MethodPut, "/api/v1/projects/firm", `{"quota": {"cpu": 96000, "cost": 2000000000}}`, http.StatusOK)
	for n, project := range []string{"shop", "lab", "archive"} {
		command(t, d.URL(), d.Token(), http.MethodPut, "/api/v1/projects/"+project, `{"parent": "firm", "quota": {"cpu": 16000, "memory": 68719476736}}`, http.StatusOK)
		for k := range 3 - n {
			name := fmt.Sprint(project, "-", k)
			_, err := d.Manager().As("browser test", "fill").Launch(t.Context(), berthage.Launch{Token: name, Project: project, Name: name, Spec: pool.Spec{
				Image: "debian-12", Resources: pool.Resources{pool.CPU: int64(1+k) * pool.Core, pool.Memory: 4 * pool.GiB}, Disks: []pool.Disk{{Size: 40 * pool.GiB}},
			}})
			require.NoError(t, err)
		}
	}
	eventually(t, func() bool { return status(d)["running"] == 6 }, "the instances")
	b.visit(d.SignInLink())
	b.do(chromedp.Navigate(d.URL() + "/usage"))
	b.until(`document.body.dataset.loaded && document.querySelectorAll("#projects-list li .stack i").length > 4`)
	require.Equal(t, []string{"default", "firm", "archive", "lab", "shop"}, eval[[]string](b, `[...document.querySelectorAll("#projects-list > li")].map((l) => l.dataset.name)`), "each after the one that it lies in")
	require.Equal(t, "1", eval[string](b, `document.querySelector('#projects-list [data-name="shop"]').dataset.depth`))
	require.Contains(t, b.text("#usage-total"), "EUR")
	width := func(name string) float64 {
		return eval[float64](b, fmt.Sprintf(`[...document.querySelectorAll('#projects-list [data-name="%s"] .stack i')].reduce((n, e) => n + e.getBoundingClientRect().width, 0)`, name))
	}
	require.InDelta(t, width("shop")+width("lab")+width("archive"), width("firm"), 3, "what lies in it is shown with it")
	require.Greater(t, width("shop"), width("lab"))
	require.Greater(t, width("lab"), width("archive"))
	require.Greater(t, width("archive"), 0.0)
	require.Empty(t, eval[[]string](b, unnamed))
	require.Contains(t, b.text(`#projects-list [data-name="firm"] .limits`), "Cost")
	require.Contains(t, b.text(`#projects-list [data-name="firm"] .limits`), "/ 2,000.00 an hour")
	b.choose("#usage-of", "instances")
	b.until(`document.querySelector('#projects-list [data-name="shop"] .cost').textContent !== ""`)

	b.press("#requests-ask")
	b.until(`document.querySelector("#confirm").open`)
	which := eval[string](b, `[...document.querySelectorAll("#ask-what option")].find((o) => o.textContent.startsWith("lab: CPU")).value`)
	b.choose("#ask-what", which)
	b.fill("#ask-to", "24")
	b.fill("#ask-reason", "<b>more</b> samples")
	b.press("#confirm-yes")
	b.until(`document.querySelector('#requests-list li[data-status="open"]')`)
	require.Contains(t, b.text("#requests-list li"), "<b>more</b> samples", "text is text")
	b.choose("#usage-of", "cost")
	if name := os.Getenv("BERTHD_SCREENSHOT_USAGE"); name != "" {
		b.screenshot(name)
	}
	b.press(`#requests-list [data-verb=grant]`)
	b.until(`document.querySelector("#confirm").open`)
	b.press("#confirm-yes")
	b.until(`document.querySelector('#requests-list li[data-status="granted"]')`)
	require.EqualValues(t, 24000, count(d, func(st *pool.State) int {
		p, _ := st.Project("lab")
		return int(p.Quota[pool.CPU])
	}))
	link := eval[string](b, `document.querySelector("#usage-csv").getAttribute("href")`)
	require.Contains(t, api(t, d, link).Header.Get("Content-Type"), "text/csv")
	b.clean()
}
