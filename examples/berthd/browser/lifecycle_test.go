package browser_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/examples/berthd/config"
	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
)

// even makes every host of the fleet able to take what is on another.
func even(c *fake.Config) {
	for n, h := range c.Hosts {
		c.Hosts[n] = pool.Host{ID: h.ID, Name: h.Name, Conditions: pool.Ready, Inventory: map[pool.Class]pool.Inventory{
			pool.CPU: {Total: 32 * pool.Core}, pool.Memory: {Total: 128 * pool.GiB}, pool.StorageStandard: {Total: 4 * pool.TiB},
		}}
	}
}

// press presses a button by keyboard.
func (b *browser) press(selector string) {
	b.t.Helper()
	b.until(fmt.Sprintf(`document.querySelector(%q)?.offsetParent`, selector))
	b.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`void document.querySelector(%q).focus()`, selector)))
	b.do(chromedp.KeyEvent("\r"))
}

// Somebody works with a cluster by keyboard: creates it, suspends, resumes, stops, scales and deletes it, each with one
// command, and sees how far each has come.
func TestClustersOnTheDashboard(t *testing.T) {
	b := open(t, 1400, 1000)
	d := shaped(t, 3, even)
	b.visit(d.SignInLink())
	require.True(t, eval[bool](b, `document.querySelector("#clusters").hidden`), "without clusters there is no table of them")

	b.press("#launch-open")
	b.do(chromedp.WaitVisible(chromedp.CSS("#launch-form")))
	b.do(chromedp.SetValue(chromedp.CSS("#launch-name"), "web"), chromedp.SetValue(chromedp.CSS("#launch-count"), "3"), chromedp.SetValue(chromedp.CSS("#launch-image"), "debian-12"))
	b.click("#launch-cluster")
	b.press("#launch-submit")
	const row = `#clusters-rows tr[data-id="default/web"]`
	is := func(key, value string) {
		t.Helper()
		b.until(fmt.Sprintf(`document.querySelector('%s')?.dataset.%s === %q`, row, key, value))
	}
	is("done", "3")
	is("want", "running")
	require.Equal(t, "1", eval[string](b, `document.querySelector("#clusters-count").textContent`))
	require.Empty(t, eval[[]string](b, unnamed), "everything that can be pressed or filled in has a name")
	button := func(verb string) string { return row + ` [data-verb=` + verb + `]` }

	b.press(button("suspend"))
	b.until(`document.querySelector("#confirm").open`)
	b.press("#confirm-yes")
	is("want", "suspended")
	is("done", "3")
	b.press(button("resume"))
	is("want", "running")
	is("done", "3")
	require.True(t, eval[bool](b, fmt.Sprintf(`document.querySelector('%s').contains(document.activeElement)`, row)), "the place on the page is kept")

	// Given back, it takes nothing; stopped and started it is as before.
	b.press(button("suspend"))
	b.click("#ask-release")
	b.press("#confirm-yes")
	is("want", "shelved")
	is("done", "3")
	b.until(`document.querySelectorAll('#instances-rows tr[data-status="shelved"]').length === 3`)
	b.press(button("resume"))
	is("want", "running")
	is("done", "3")
	b.press(button("stop"))
	is("want", "stopped")
	is("done", "3")
	b.press(button("start"))
	is("want", "running")
	is("done", "3")

	// Too many are refused in the form, which can be corrected.
	b.press(button("scale"))
	b.do(chromedp.SetValue(chromedp.CSS("#ask-size"), "900"))
	b.press("#confirm-yes")
	b.do(chromedp.WaitVisible(chromedp.CSS(`#confirm .problem[data-type="no-room"]`)))
	b.do(chromedp.SetValue(chromedp.CSS("#ask-size"), "5"))
	b.press("#confirm-yes")
	is("members", "5")
	is("done", "5")

	// Its members and their outcomes.
	b.press(row + " .name")
	b.until(`document.querySelectorAll('#detail tr[data-outcome="done"]').length === 5`)
	require.Contains(t, eval[string](b, `document.querySelector("#detail .facts").textContent`), "scale, for 2")
	require.Empty(t, eval[[]string](b, unnamed))
	b.press("#detail [data-verb=stop]")
	b.until(`[...document.querySelectorAll("#detail tbody tr")].every((r) => r.cells[1].textContent === "stopped")`)
	b.do(chromedp.KeyEvent("\x1b"))
	b.until(`!document.querySelector("#detail").open`)

	b.press(button("delete"))
	b.until(`document.querySelector("#confirm").textContent.includes("All 5 members")`)
	b.press("#confirm-yes")
	b.until(`document.querySelector("#clusters").hidden && document.querySelectorAll("#instances-rows tr").length === 0`)
	b.clean("status of 409")
}

// A host is emptied, an instance moved, resized and shelved, and a host that died is given up, all in the drawers.
func TestMaintenanceOnTheDashboard(t *testing.T) {
	b := open(t, 1400, 1000)
	d := shaped(t, 3, func(c *fake.Config) {
		even(c)
		c.Without, c.Migrate, c.Settles = []hypervisor.Ability{hypervisor.CanFence}, 300*time.Millisecond, time.Millisecond
	}, func(c *config.Config) { c.Grace = 5 * time.Second })
	for _, n := range []string{"one", "two"} {
		require.NoError(t, launch(d.Manager(), n, pool.Spec{Image: "debian-12", Flavor: "small"}))
	}
	where := func(name string) (out pool.Instance) {
		d.Manager().View(func(st *pool.State) {
			for i := range st.Instances() {
				if i.Name == name {
					out = *i
				}
			}
		})
		return out
	}
	eventually(t, func() bool { return status(d)["running"] == 2 }, "both run")
	b.visit(d.SignInLink())
	from := where("one").Place.Host

	host := fmt.Sprintf(`#hosts-rows tr[data-id="%s"] .name`, from)
	b.press(host)
	b.press("#detail [data-verb=drain]")
	b.do(chromedp.SendKeys(chromedp.CSS("#ask-reason"), "new memory"))
	b.press("#confirm-yes")
	b.until(`document.querySelector("#leaving")?.dataset.n === "0"`)
	require.Contains(t, eval[string](b, `document.querySelector("#leaving").textContent`), "free for maintenance")
	require.NotEqual(t, from, where("one").Place.Host)
	require.True(t, eval[bool](b, `document.querySelector("#detail").contains(document.activeElement)`), "the focus stays in the drawer")
	b.press("#detail [data-verb=undrain]")
	b.do(chromedp.WaitVisible(chromedp.CSS("#detail [data-verb=drain]")))
	b.do(chromedp.KeyEvent("\x1b"))

	b.do(chromedp.Evaluate[chromedp.Void](`void ` + row("one") + `.querySelector(".name").click()`))
	b.press("#detail [data-verb=move]")
	b.do(chromedp.SetValue(chromedp.CSS("#ask-host"), string(from)))
	b.press("#confirm-yes")
	eventually(t, func() bool { i := where("one"); return i.Place.Host == from && i.Settled() }, "it has moved")
	b.until(`!document.querySelector("#confirm").open && document.querySelector("#detail .who")`) // else that is what Escape closes
	b.do(chromedp.KeyEvent("\x1b"))
	b.until(`!document.querySelector("#detail").open`)
	b.do(chromedp.Evaluate[chromedp.Void](`void ` + row("one") + `.querySelector(".name").click()`))
	b.press("#detail [data-verb=resize]")
	b.do(chromedp.SetValue(chromedp.CSS("#ask-cpu"), "4"))
	b.press("#confirm-yes")
	eventually(t, func() bool {
		i := where("one")
		return i.Place.Allocation.Resources[pool.CPU] == 4*pool.Core && i.Settled()
	}, "it has grown")
	b.until(`!document.querySelector("#confirm").open && document.querySelector("#detail .who")`)
	b.do(chromedp.KeyEvent("\x1b"))
	b.until(`!document.querySelector("#detail").open`)
	b.do(chromedp.Evaluate[chromedp.Void](`void ` + row("two") + `.querySelector(".name").click()`))
	b.press("#detail [data-verb=shelve]")
	b.press("#confirm-yes")
	b.until(`!document.querySelector("#confirm").open && document.querySelector("#detail .who")`)
	b.do(chromedp.KeyEvent("\x1b"))
	b.until(`!document.querySelector("#detail").open`)
	b.until(row("two") + `?.dataset.status === "shelved"`)
	b.do(chromedp.Evaluate[chromedp.Void](`void ` + row("two") + `.querySelector("[data-verb=unshelve]").click()`))
	b.until(row("two") + `?.dataset.status === "running"`)

	// The host dies. Only a word that can be given for it lets its instances be made anew.
	require.NoError(t, d.Fleet().SetHostState(from, fake.Dead))
	b.until(fmt.Sprintf(`document.querySelector('#hosts-rows tr[data-id="%s"] .sub').textContent.includes("unreachable")`, from))
	b.press(host)
	b.press("#detail [data-verb=confirm-off]")
	require.Contains(t, eval[string](b, `document.querySelector("#confirm").textContent`), "A wrong word runs instances twice")
	require.Empty(t, eval[[]string](b, unnamed))
	b.press("#confirm-yes")
	require.True(t, eval[bool](b, `document.querySelector("#confirm").open`), "without a word on how it is known nothing is sent")
	b.do(chromedp.SendKeys(chromedp.CSS("#ask-proof"), "I hold the plug"))
	b.press("#confirm-yes")
	b.until(`document.querySelector("#detail .facts")?.textContent.includes("I hold the plug")`)
	eventually(t, func() bool { i := where("one"); return i.Place.Host != from && i.Settled() }, "it is made anew")
	b.clean()
}
