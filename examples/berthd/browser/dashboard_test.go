package browser_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/examples/berthd/daemon"
	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
)

// row finds the row of an instance by its name.
func row(name string) string {
	return fmt.Sprintf(`[...document.querySelectorAll("#instances-rows tr")].find((r) => r.querySelector(".name").textContent === %q)`, name)
}

// A fleet of 200 hosts and 300 instances: every number on the page is the API's, and the page keeps up with
// what happens without being loaded again. BERTHD_SCREENSHOT names a file for a picture of it.
func TestTheDashboardShowsTheFleet(t *testing.T) {
	b := open(t, 1720, 1180)
	d := serve(t, 200)
	fill(t, d, 300)
	rest(t, d)
	_, err := d.Manager().Cordon(t.Context(), "sim/node-0042", "memory module to be replaced")
	require.NoError(t, err)
	require.NoError(t, d.Fleet().SetHostState("sim/node-0117", "dead"))
	_, err = d.Fleet().AddForeign(hypervisor.Machine{Ref: hypervisor.Ref{Host: "sim/node-0003"}, Name: "<img src=x>", Power: pool.Running, Resources: pool.Resources{pool.CPU: 2000}})
	require.NoError(t, err)
	eventually(t, func() bool {
		return len(d.Manager().Unknown()) == 1 && count(d, func(st *pool.State) int {
			h, _ := st.Host("sim/node-0117")
			return len(h.Conditions.Names())
		}) == 0
	}, "hosts and machines")

	b.visit(d.SignInLink())
	require.Equal(t, d.URL()+"/", eval[string](b, "location.href"), "the code is not left in the address")
	t.Logf("the page was complete %d ms after it was opened", eval[int](b, "Number(document.body.dataset.loaded)"))
	b.until(`document.querySelectorAll("#hosts-rows tr").length === 200 && document.querySelectorAll("#instances-rows tr").length === 300`)
	numbers(t, b, func() map[string]any {
		var out map[string]any
		require.NoError(t, json.NewDecoder(api(t, d, "/api/v1/pool").Body).Decode(&out))
		return out
	}())
	hostsEqual(t, b, func() []map[string]any {
		var out struct{ Items []map[string]any }
		require.NoError(t, json.NewDecoder(api(t, d, "/api/v1/hosts?limit=1000").Body).Decode(&out))
		return out.Items
	}())

	// States are said in words, not by colour alone; strangers' names are text.
	for id, word := range map[string]string{"sim/node-0042": "cordoned", "sim/node-0117": "not ready", "sim/node-0001": "healthy"} {
		require.Contains(t, eval[string](b, fmt.Sprintf(`document.querySelector('#hosts-rows tr[data-id=%q] .dot').getAttribute("aria-label")`, id)), word)
	}
	require.Equal(t, "<img src=x>", eval[string](b, `document.querySelector("#unknown td b").textContent`))
	require.Empty(t, eval[[]string](b, unnamed), "everything that can be pressed or filled in has a name")

	b.until(`document.querySelectorAll("#instances-rows .chip[data-busy]").length === 0`) // nothing is under way

	// Sorting and filtering.
	b.click(`#hosts th[data-sort="cpu"] button`)
	require.Equal(t, "descending", eval[string](b, `document.querySelector('#hosts th[data-sort="cpu"]').getAttribute("aria-sort")`))
	require.True(t, eval[bool](b, `(() => { const v = [...document.querySelectorAll("#hosts-rows td:nth-child(3) .bar")].filter((x) => !x.hidden).map((x) => Number(x.getAttribute("aria-valuenow"))); return v.every((x, i) => i === 0 || v[i-1] >= x); })()`))
	b.screenshot(os.Getenv("BERTHD_SCREENSHOT"))
	b.do(chromedp.SendKeys(chromedp.CSS("#hosts-filter"), "node-0042"))
	b.until(`document.querySelectorAll("#hosts-rows tr").length === 1 && document.querySelector("#hosts-count").textContent === "1 of 200"`)
	b.do(chromedp.SetValue(chromedp.CSS("#instances-status"), "failed"))
	b.do(chromedp.Evaluate[chromedp.Void](`void document.querySelector("#instances-status").dispatchEvent(new Event("input"))`))
	b.until(`document.querySelectorAll("#instances-rows tr").length === 0 && !document.querySelector("#instances-empty").hidden`)

	// While much happens the page asks at most a few times a second.
	b.do(chromedp.Evaluate[chromedp.Void](`void performance.clearResourceTimings()`))
	began := time.Now()
	fill(t, d, 340)
	b.until(`document.querySelector("#pool [data-counts=instances]").dataset.all === "340"`)
	asked := eval[int](b, `performance.getEntriesByName(location.origin + "/api/v1/pool").length`)
	t.Logf("%d looks at the pool in %s", asked, time.Since(began).Round(time.Millisecond))
	require.LessOrEqual(t, float64(asked), 4*time.Since(began).Seconds()+2)
	b.clean()
}

// Of a fleet of thousands every host is counted, found and on the map, and only some of their rows are there.
func TestALargeFleet(t *testing.T) {
	b := open(t, 1720, 1180)
	d := shaped(t, 2100, func(c *fake.Config) { c.Latency = fake.Latency{} })
	b.visit(d.SignInLink())
	b.until(`document.querySelectorAll("#map .cell").length === 2100 && document.querySelector("#hosts-count").textContent === "2100"`)
	require.Equal(t, 500, eval[int](b, `document.querySelectorAll("#hosts-rows tr").length`))
	require.Equal(t, "The first 500 of 2100 are shown; filter to see others.", eval[string](b, `document.querySelector("#hosts-empty").textContent`))
	require.Equal(t, "None yet.", eval[string](b, `document.querySelector("#instances-empty:not([hidden])").textContent`))
	require.Less(t, eval[float64](b, `document.querySelector("#map").getBoundingClientRect().height`), 400.0)

	// One that has no row yet is sorted and found by what it is now.
	_, err := d.Manager().Cordon(t.Context(), "sim/node-2042", "")
	require.NoError(t, err)
	require.NoError(t, d.Manager().RemoveHost(t.Context(), "sim/node-2043"))
	b.until(`document.querySelectorAll("#map .cell").length === 2099`)
	b.do(chromedp.SendKeys(chromedp.CSS("#hosts-filter"), "node-204"))
	b.until(`document.querySelectorAll("#hosts-rows tr").length === 9 && document.querySelector("#hosts-count").textContent === "9 of 2099"`)
	require.Equal(t, "cordoned", eval[string](b, `document.querySelector('#hosts-rows tr[data-id="sim/node-2042"]').dataset.state`))

	// An explanation lists 500 of them, and counts all.
	b.click("#launch-open")
	b.until(`document.querySelector("#launch").open`)
	b.click("#launch-check")
	b.until(`document.querySelector("#launch-answer .answer")`)
	says := eval[string](b, `document.querySelector("#launch-answer").textContent`)
	var qualify, refused, all int
	_, err = fmt.Sscanf(says[strings.Index(says, ". ")+2:], "%d hosts qualify.%d of %d hosts cannot", &qualify, &refused, &all)
	require.NoError(t, err, says)
	require.Equal(t, 2099, all)
	require.Equal(t, 2099, qualify+refused)
	require.Greater(t, qualify, 500)
	b.clean()
}

// rest stops some instances and suspends others.
func rest(t *testing.T, d *daemon.Daemon) {
	t.Helper()
	var ids []pool.InstanceID
	d.Manager().View(func(st *pool.State) {
		for n, i := range st.SortedInstances() {
			if n%23 == 0 {
				ids = append(ids, i.ID)
			}
		}
	})
	for n, id := range ids {
		_, err := d.Manager().SetPower(t.Context(), id, []pool.Power{pool.Stopped, pool.Suspended}[n%2])
		require.NoError(t, err)
	}
	eventually(t, func() bool { s := status(d); return s["stopped"]+s["suspended"] == len(ids) }, "stopped and suspended")
}

// unnamed lists controls without an accessible name.
const unnamed = `[...document.querySelectorAll("button, a[href], input, select, textarea")].filter((e) => e.offsetParent && ` +
	`!(e.getAttribute("aria-label") || e.textContent.trim() || e.title || e.labels?.length)).map((e) => e.outerHTML.slice(0, 80))`

// numbers requires that every number of the tiles is that of the API.
func numbers(t *testing.T, b *browser, p map[string]any) {
	t.Helper()
	checked := 0
	for class, sums := range p["resources"].(map[string]any) {
		if strings.HasPrefix(class, "iops.") {
			continue
		}
		shown := eval[map[string]string](b, fmt.Sprintf(`({...document.querySelector('#pool [data-class=%q]').dataset})`, class))
		for k, n := range sums.(map[string]any) {
			require.Equal(t, fmt.Sprintf("%.0f", n), shown[k], "%s %s", class, k)
			checked++
		}
	}
	require.GreaterOrEqual(t, checked, 6*7)
	for tile, want := range map[string]any{"hosts": p["hosts"].(map[string]any)["all"], "instances": p["instances"].(map[string]any)["all"]} {
		require.Equal(t, fmt.Sprintf("%.0f", want), eval[string](b, fmt.Sprintf(`document.querySelector('#pool [data-counts=%s]').dataset.all`, tile)))
	}
	require.Equal(t, "200", eval[string](b, `document.querySelector('#pool [data-counts=hosts] .big').textContent`))
	for word, n := range p["instances"].(map[string]any) {
		if word != "all" {
			require.Equal(t, fmt.Sprintf("%.0f", n), eval[string](b, fmt.Sprintf(`document.querySelector('#pool [data-counts=instances] [data-word=%s]').dataset.n`, word)))
		}
	}
	require.Len(t, p["instances"], 4)
	require.Equal(t, "198", eval[string](b, `document.querySelector('#pool [data-counts=hosts] [data-word="take instances"]').dataset.n`))
}

// hostsEqual requires that the rows show the API's hosts.
func hostsEqual(t *testing.T, b *browser, hosts []map[string]any) {
	t.Helper()
	type shown struct {
		Name, Sub, CPU, Memory string
		VMs                    string
	}
	rows := eval[map[string]shown](b, `Object.fromEntries([...document.querySelectorAll("#hosts-rows tr")].map((r) => [r.dataset.id, {
		Name: r.querySelector(".name").textContent, Sub: r.querySelector(".sub").textContent, VMs: r.cells[5].textContent,
		CPU: r.cells[2].querySelector(".of").textContent, Memory: r.cells[3].querySelector(".bar").title }]))`)
	require.Len(t, rows, len(hosts))
	for _, h := range hosts {
		got := rows[h["id"].(string)]
		cpu := h["resources"].(map[string]any)["cpu"].(map[string]any)
		memory := h["resources"].(map[string]any)["memory"].(map[string]any)
		require.Equal(t, h["name"], got.Name)
		require.Contains(t, got.Sub, h["address"])
		require.Equal(t, fmt.Sprintf("%.0f", h["instances"]), got.VMs)
		require.Equal(t, fmt.Sprintf("%.0f / %.0f", cpu["used"].(float64)/1000, cpu["capacity"].(float64)/1000), strings.ReplaceAll(got.CPU, ",", ""))
		gib := func(v any) string { return fmt.Sprintf("%.0f GiB", v.(float64)/float64(pool.GiB)) }
		if memory["capacity"].(float64) < float64(pool.TiB) && memory["used"].(float64) > 0 {
			require.Equal(t, gib(memory["used"])+" used of "+gib(memory["capacity"]), strings.ReplaceAll(got.Memory, ",", ""))
		}
	}
}

// Somebody works with the page: launches by the form, is told what is wrong, stops, starts and deletes, signs
// out and in again; all of it live.
func TestWorkingWithTheDashboard(t *testing.T) {
	b := open(t, 1400, 1000)
	d := serve(t, 8)
	b.visit(d.SignInLink())
	b.do(chromedp.Evaluate[chromedp.Void](`void (window.loadedOnce = true)`))

	// What cannot be placed is refused with its reasons.
	b.click("#launch-open")
	b.do(chromedp.WaitVisible(chromedp.CSS("#launch-form")))
	b.do(chromedp.SetValue(chromedp.CSS("#launch-name"), "too-much"))
	b.click("#launch-add-disk")
	b.do(chromedp.SetValue(chromedp.CSS(`#launch-disks [data-of="size"]`), "2000"))
	b.do(chromedp.Evaluate[chromedp.Void](`void document.querySelector("#launch-form").setAttribute("novalidate", "")`))
	b.click("#launch-submit")
	b.do(chromedp.WaitVisible(chromedp.CSS(`#launch-answer .problem[data-type="invalid-value"]`)))
	require.Contains(t, eval[string](b, `document.querySelector("#launch-answer").textContent`), "1 GiB to 1 TiB")

	b.do(chromedp.Evaluate[chromedp.Void](`void (document.querySelector("#launch-zone").append(new Option("moon")), document.querySelector("#launch-zone").value = "moon", document.querySelector('#launch-disks [data-of="size"]').value = "20")`))
	b.click("#launch-submit")
	b.do(chromedp.WaitVisible(chromedp.CSS(`#launch-answer .problem[data-type="no-room"]`)))
	text := eval[string](b, `document.querySelector("#launch-answer").textContent`)
	require.Contains(t, text, "8 of 8 hosts cannot take it")
	require.Contains(t, text, "Nearest change")
	require.Contains(t, text, `asked for "moon"`)
	require.Zero(t, count(d, func(st *pool.State) int { return st.InstanceCount() }))

	// What can be is launched, with disks, mounts and a key, and is seen to run.
	b.do(chromedp.SetValue(chromedp.CSS("#launch-zone"), ""), chromedp.SetValue(chromedp.CSS("#launch-name"), "web-1"),
		chromedp.SetValue(chromedp.CSS("#launch-image"), "debian-12"))
	b.click("#launch-add-disk")
	b.do(chromedp.SendKeys(chromedp.CSS(`#launch-disks [data-of="mount"]`), "/data"),
		chromedp.SendKeys(chromedp.CSS("#launch-keys"), "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f me"))
	b.click("#launch-submit")
	b.until(`!document.querySelector("#launch").open`)
	b.until(row("web-1") + `?.dataset.status === "running"`)
	var launched pool.Instance
	d.Manager().View(func(st *pool.State) {
		for i := range st.Instances() {
			launched = *i
		}
	})
	require.Equal(t, "web-1", launched.Name)
	require.Equal(t, "/data", launched.Spec.Disks[1].Mount)
	require.Len(t, launched.Spec.Guest.SSHKeys, 1)

	// Its details and its console.
	b.do(chromedp.Evaluate[chromedp.Void](`void ` + row("web-1") + `.querySelector(".name").click()`))
	const booted = `!!document.querySelector("#detail .console")?.textContent.includes("web-1 login:")`
	b.until(`document.querySelector("#detail .console")?.textContent`)
	for range 100 { // it was read while the guest booted
		if eval[bool](b, booted) {
			break
		}
		b.do(chromedp.Evaluate[chromedp.Void](`void [...document.querySelectorAll("#detail button")].find((x) => x.textContent === "Read again").click()`))
		time.Sleep(100 * time.Millisecond)
	}
	b.until(booted)
	require.Contains(t, eval[string](b, `document.querySelector("#detail .facts").textContent`), "SHA256:")
	b.do(chromedp.KeyEvent("\x1b"))
	b.until(`!document.querySelector("#detail").open`)

	// Power, and the end.
	press := func(verb string) {
		t.Helper()
		b.until(row("web-1") + `?.querySelector('[data-verb=` + verb + `]:not(:disabled)')`)
		b.do(chromedp.Evaluate[chromedp.Void](`void ` + row("web-1") + `.querySelector('[data-verb=` + verb + `]').click()`))
	}
	for _, s := range []struct{ verb, status string }{{"suspend", "suspended"}, {"resume", "running"}, {"stop", "stopped"}, {"start", "running"}} {
		press(s.verb)
		b.until(row("web-1") + fmt.Sprintf(`?.dataset.status === %q`, s.status))
	}

	// By keyboard the place on the page is kept, though the buttons change.
	for _, s := range []struct{ verb, status, next string }{{"stop", "stopped", "start"}, {"start", "running", "stop"}} {
		b.do(chromedp.Evaluate[chromedp.Void](`void ` + row("web-1") + `.querySelector('[data-verb=` + s.verb + `]').focus()`))
		b.do(chromedp.KeyEvent("\r"))
		b.until(row("web-1") + fmt.Sprintf(`?.dataset.status === %q`, s.status))
		require.Equal(t, s.next, eval[string](b, `document.activeElement.dataset.verb ?? document.activeElement.tagName`))
		require.True(t, eval[bool](b, row("web-1")+`.contains(document.activeElement)`))
	}
	press("delete")
	b.do(chromedp.WaitVisible(chromedp.CSS("#confirm-yes")))
	require.Contains(t, eval[string](b, `document.querySelector("#confirm").textContent`), "cannot be undone")
	b.click("#confirm-yes")
	b.until("!" + row("web-1"))
	b.until(`[...document.querySelectorAll("#activity li")].some((l) => l.textContent.includes("deleted web-1"))`)

	// A host is cordoned by somebody else, and it shows.
	_, err := d.Manager().Cordon(t.Context(), "sim/node-0002", "by hand")
	require.NoError(t, err)
	b.until(`document.querySelector('#hosts-rows tr[data-id="sim/node-0002"]').dataset.state === "cordoned"`)
	require.Contains(t, eval[string](b, `document.querySelector('#hosts-rows tr[data-id="sim/node-0002"] .sub').textContent`), "by hand")
	b.do(chromedp.Evaluate[chromedp.Void](`void document.querySelector('#hosts-rows tr[data-id="sim/node-0002"] button[aria-label^=Uncordon]').click()`))
	b.until(`document.querySelector('#hosts-rows tr[data-id="sim/node-0002"]').dataset.state === "ready"`)
	require.True(t, eval[bool](b, "window.loadedOnce"), "the page was never loaded again")

	// Signed out, nothing is shown; a pasted link signs in; a used one does not.
	b.click("#sign-out")
	b.do(chromedp.WaitVisible(chromedp.CSS("#signin")))
	require.False(t, eval[bool](b, `Boolean(document.querySelector("#main").offsetParent)`))
	link := d.SignInLink()
	b.click("#signin-link summary")
	b.do(chromedp.SendKeys(chromedp.CSS("#signin-code"), "wrong"))
	b.click("#signin-form button")
	b.do(chromedp.WaitVisible(chromedp.CSS("#signin-error .problem")))
	b.do(chromedp.SetValue(chromedp.CSS("#signin-code"), link))
	b.click("#signin-form button")
	b.do(chromedp.WaitVisible(chromedp.CSS("#main")))
	b.click("#sign-out")
	b.do(chromedp.WaitVisible(chromedp.CSS("#signin")))
	b.do(chromedp.Navigate("about:blank"), chromedp.Navigate(link))
	b.do(chromedp.WaitVisible(chromedp.CSS("#signin-error .problem")))
	b.clean("status of 401", "status of 409", "status of 422")
}

// The description of the API, and the pages of problems, work under the same policy.
func TestTheOtherPages(t *testing.T) {
	b := open(t, 1200, 900)
	d := serve(t, 1)
	b.do(chromedp.Navigate(d.URL() + "/docs"))
	b.do(chromedp.WaitVisible(chromedp.CSS(".problem")))
	b.visit(d.SignInLink())
	b.do(chromedp.Navigate(d.URL() + "/docs"))
	b.until(`document.querySelectorAll(".op").length > 35`)
	require.Contains(t, eval[string](b, `document.querySelector("#launch-instance").textContent`), "Idempotency-Key")
	b.do(chromedp.Navigate(d.URL() + "/problems/no-room"))
	require.Equal(t, "No host fits", eval[string](b, `document.querySelector("h1").textContent`))
	require.Equal(t, 0, eval[int](b, `performance.getEntriesByType("resource").filter((e) => !e.name.startsWith(location.origin)).length`))
	b.clean("status of 401")

	// Narrow, nothing is wider than the screen.
	b.do(chromedp.EmulateViewport(390, 800))
	b.visit(d.URL())
	require.LessOrEqual(t, eval[int](b, "document.documentElement.scrollWidth"), 390)
	b.clean("status of 401")
}
