package browser_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/examples/berthd/daemon"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
)

// plan opens the page of plans, signed in.
func (b *browser) plan(d *daemon.Daemon) {
	b.t.Helper()
	b.visit(d.SignInLink())
	b.do(chromedp.Navigate(d.URL() + "/plan"))
	b.until(`document.body.dataset.loaded && document.querySelector("#capacity-form [data-verb=ask]")`)
}

// fill puts a value into an input.
func (b *browser) fill(selector, value string) {
	b.t.Helper()
	b.do(chromedp.SetValue(chromedp.CSS(selector), value))
	b.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`void document.querySelector(%q).dispatchEvent(new Event("input"))`, selector)))
}

func (b *browser) text(selector string) string {
	b.t.Helper()
	return eval[string](b, fmt.Sprintf(`document.querySelector(%q).textContent`, selector))
}

// threeHosts is a fleet of three with one instance on each of two and two on the third, that any could take.
func threeHosts(t *testing.T) *daemon.Daemon {
	t.Helper()
	d := shaped(t, 3, func(c *fake.Config) {
		even(c)
		c.Migrate = 200 * time.Millisecond
	})
	for n, host := range []string{"sim/node-0001", "sim/node-0001", "sim/node-0002", "sim/node-0003"} {
		name := fmt.Sprint("vm-", n)
		require.NoError(t, launch(d.Manager(), name, pool.Spec{Image: "debian-12", Flavor: "small"}))
		var id pool.InstanceID
		d.Manager().View(func(st *pool.State) {
			for i := range st.Instances() {
				if i.Name == name {
					id = i.ID
				}
			}
		})
		eventually(t, func() bool { return status(d)["running"] == n+1 }, name)
		place := func() (h pool.HostID, moving bool) {
			d.Manager().View(func(st *pool.State) {
				i, _ := st.Instance(id)
				h, moving = i.Place.Host, i.Move != nil
			})
			return h, moving
		}
		if at, _ := place(); at != pool.HostID(host) {
			_, err := d.Manager().Move(t.Context(), id, pool.HostID(host), false)
			require.NoError(t, err)
			eventually(t, func() bool { at, moving := place(); return at == pool.HostID(host) && !moving }, "a move")
		}
	}
	eventually(t, func() bool { // else what is observed next is a change, and the plan that rests on what was before does not stand
		return count(d, func(st *pool.State) (n int) {
			for i := range st.Instances() {
				n += min(1, len(i.Addresses))
			}
			return n
		}) == 4
	}, "addresses")
	return d
}

// Somebody asks what would be: a host lost, one added, too much asked for; and is told, in words and pictures, by keyboard.
func TestWhatIfOnThePageOfPlans(t *testing.T) {
	b := open(t, 1400, 1000)
	d := threeHosts(t)
	b.plan(d)
	require.Empty(t, eval[[]string](b, unnamed), "everything that can be pressed or filled in has a name")
	require.Contains(t, b.text("#whatif-answer .empty"), "Ask a question")

	b.fill("#whatif-lose", "sim/node-0009")
	b.press(`#whatif-form [aria-label="Add to Lose hosts"]`)
	require.Equal(t, "true", eval[string](b, `document.querySelector("#whatif-lose").getAttribute("aria-invalid")`), "there is no such host")
	b.fill("#whatif-lose", "sim/node-0001")
	b.do(chromedp.Evaluate[chromedp.Void](`void document.querySelector("#whatif-lose").focus()`), chromedp.KeyEvent("\r"))
	b.until(`document.querySelector('#whatif-form .picked [data-name="sim/node-0001"]')`)
	b.press("#whatif-hosts-add")
	b.press("#whatif-demand-add")
	require.Equal(t, "Flavor", eval[string](b, `document.activeElement.getAttribute("aria-label")`), "the new line has the focus")
	b.fill(`#whatif-demand select`, "small")
	b.fill(`#whatif-demand [aria-label="How many"]`, "3")
	b.press("#whatif-form [data-verb=ask]")
	b.until(`document.querySelector("#whatif-answer .chip")?.textContent === "fits"`)
	require.Equal(t, "2", eval[string](b, `document.querySelector('#whatif-answer [data-asked="2"]').dataset.placed`), "what was on the lost host")
	cpu := eval[map[string]string](b, `({...document.querySelector('#whatif-answer .change[data-class="cpu"]').dataset})`)
	require.Equal(t, "96000", cpu["capacity"])
	require.Equal(t, "96000", cpu["then"], "one lost, one added")
	require.Less(t, cpu["before"], cpu["after"])
	require.Equal(t, 1, eval[int](b, `document.querySelectorAll("#whatif-answer .cell.added").length`))
	require.Equal(t, 1, eval[int](b, `document.querySelectorAll('#whatif-answer .cell[data-state="down"]').length`))
	room := eval[map[string]string](b, `({...document.querySelector('#whatif-answer tr[data-flavor="small"]').dataset})`)
	require.NotEqual(t, "0", room["before"])
	require.Equal(t, 3, count(d, func(st *pool.State) int { return st.HostCount() }), "nothing was changed")
	require.Empty(t, eval[[]string](b, unnamed))

	// Too much: what does not fit, why, and what is missing.
	b.press(`[aria-label="Remove sim/node-0001"]`)
	require.Equal(t, "whatif-lose", eval[string](b, `document.activeElement.id`))
	b.fill(`#whatif-demand [aria-label="How many"]`, "4000")
	b.fill("#whatif-spare", "1")
	b.press("#whatif-form [data-verb=ask]")
	b.until(`document.querySelector("#whatif-answer .chip")?.textContent === "does not fit"`)
	require.Contains(t, b.text("#whatif-answer .refused"), "more hosts would do")
	require.Contains(t, b.text("#whatif-answer [data-asked] .refused"), "do not fit")
	require.Contains(t, b.text("#whatif-answer [data-asked] .refused"), "Nearest change")
	if name := os.Getenv("BERTHD_SCREENSHOT_PLAN"); name != "" {
		b.do(chromedp.Evaluate[chromedp.Void](`void window.scrollTo(0, 0)`))
		b.screenshot(name)
	}

	// What is wrong is said where the answer would be.
	b.fill("#whatif-growth", "99900000")
	b.do(chromedp.Evaluate[chromedp.Void](`void document.querySelector("#whatif-form").setAttribute("novalidate", "")`))
	b.press("#whatif-form [data-verb=ask]")
	b.until(`document.querySelector("#whatif-answer .problem[role=alert]")`)
	b.clean("status of 422")

	// Narrow, nothing is wider than the screen; signed out, nothing is shown.
	b.do(chromedp.EmulateViewport(390, 800))
	require.LessOrEqual(t, eval[int](b, "document.documentElement.scrollWidth"), 390)
	b.do(chromedp.Evaluate[chromedp.Void](`void fetch("/api/v1/session", { method: "DELETE" }).then(() => { location.reload(); })`))
	b.until(`document.querySelector("#away")?.offsetParent && !document.querySelector("#main").offsetParent`)
	require.Contains(t, b.text("#away"), "not signed in")
	b.clean("status of 422", "status of 401")
}

// What has happened since the beginning happens again on two hosts, and by another policy.
func TestADayAgainOnThePageOfPlans(t *testing.T) {
	b := open(t, 1400, 1000)
	d := threeHosts(t)
	b.plan(d)
	require.Contains(t, b.text("#again-answer .empty"), "Would fewer hosts have sufficed")
	b.fill("#again-policy", "spread")
	b.fill("#again-lose", "sim/node-0001")
	b.press(`#again-form [aria-label="Add to Lose hosts"]`)
	b.press("#again-form [data-verb=ask]")
	b.until(`document.querySelector("#again-answer .chip")?.textContent === "fits"`)
	require.Contains(t, b.text("#again-answer .headline"), "4 instances came and 0 went")
	hosts := eval[map[string]string](b, `({...document.querySelector('#again-answer tr[data-figure="most"]').dataset})`)
	require.Equal(t, "2", hosts["changed"])
	require.Equal(t, 3, eval[int](b, `document.querySelectorAll("#again-answer .change").length`))
	require.Empty(t, eval[[]string](b, unnamed))

	// A moment that is still to come is refused in the place of the answer.
	b.fill("#again-from", "2999-01-01T00:00")
	b.press("#again-form [data-verb=ask]")
	b.until(`document.querySelector("#again-answer .problem[role=alert]")`)
	b.clean("status of 422")
}

// Moves are planned, and made after a question; a second plan finds nothing; capacity is asked for what is there.
func TestMovesAndCapacityOnThePageOfPlans(t *testing.T) {
	b := open(t, 1400, 1000)
	d := threeHosts(t)
	b.plan(d)
	require.Contains(t, b.text("#moves-mode"), "moves nothing by itself")
	b.press("#moves-form [data-verb=ask]")
	b.until(`document.querySelector('#moves-answer [data-state="planned"]')`)
	require.Equal(t, 2, eval[int](b, `document.querySelectorAll("#moves-answer tr[data-move]").length`))
	gain := eval[map[string]string](b, `({...document.querySelector('#moves-answer tr[data-figure="hosts"]').dataset})`)
	require.Equal(t, "3", gain["before"])
	require.Equal(t, "1", gain["after"])
	require.Equal(t, "1", eval[string](b, `document.querySelector("#moves-answer [data-least]").dataset.least`))
	require.Empty(t, eval[[]string](b, unnamed))

	// Escape answers the question with no.
	b.press("#moves-answer [data-verb=start]")
	b.until(`document.querySelector("#confirm").open && document.querySelector("#confirm").textContent.includes("Make 2 moves?")`)
	b.do(chromedp.KeyEvent("\x1b"))
	b.until(`!document.querySelector("#confirm").open`)
	require.Equal(t, "planned", eval[string](b, `document.querySelector("#moves-answer [data-state]").dataset.state`))

	b.press("#moves-answer [data-verb=start]")
	b.press("#confirm-yes")
	b.until(`document.querySelector('#moves-answer [data-state="done"]')`)
	require.Equal(t, "2 of 2 moved", eval[string](b, `document.querySelector("#moves-answer [role=progressbar]").getAttribute("aria-valuetext")`))
	require.Equal(t, 1, count(d, func(st *pool.State) (n int) {
		for h := range st.Hosts() {
			if h.Placed > 0 {
				n++
			}
		}
		return n
	}))
	b.press("#moves-form [data-verb=ask]")
	b.until(`document.querySelector("#moves-answer").textContent.includes("Nothing is to be gained")`)

	// What is there suffices; ten times as many instances of a size do not, and the rest is to be bought.
	b.press("#capacity-form [data-verb=ask]")
	b.until(`document.querySelector("#capacity-answer .chip")?.textContent === "suffices"`)
	require.Contains(t, b.text("#capacity-answer .headline"), "at a cost of 0")
	b.press("#capacity-demand-add")
	b.fill(`#capacity-demand select`, "small")
	b.fill(`#capacity-demand [aria-label="How many"]`, "300")
	b.fill("#capacity-spare", "1")
	b.press("#capacity-form [data-verb=ask]")
	b.until(`document.querySelector("#capacity-answer tr:nth-child(2)")?.dataset.total > 0`)
	require.Contains(t, b.text("#capacity-answer .headline"), "certified")
	b.click("#capacity-buy-0") // and now no more can be had
	b.press("#capacity-form [data-verb=ask]")
	b.until(`document.querySelector("#capacity-answer .chip")?.textContent === "does not suffice"`)
	b.clean()
}
