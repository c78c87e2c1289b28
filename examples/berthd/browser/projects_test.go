package browser_test

import (
	"os"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/examples/berthd/config"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
)

// Somebody makes a project and one within it, limits what they and their users may take, sees why what was asked for is refused, moves one and removes it.
func TestProjectsOnTheirPage(t *testing.T) {
	b := open(t, 1400, 1000)
	d := shaped(t, 2, func(*fake.Config) {}, func(*config.Config) {})
	project := func(name string) (out pool.Project, ok bool) {
		d.Manager().View(func(st *pool.State) {
			p, is := st.Project(name)
			if ok = is; ok {
				out = p.Project.Clone()
			}
		})
		return out, ok
	}
	row := func(name string) string { return `#projects-list [data-name="` + name + `"]` }
	there := func(name string) string { return `document.querySelector('` + row(name) + ` [data-verb=limits]')` }
	b.visit(d.SignInLink())
	b.page("/usage", "#projects-add")
	b.until(there("default"))

	add := func(name, parent string) {
		b.press("#projects-add")
		b.until(`document.querySelector("#confirm").open && document.querySelector("#project-name")`)
		b.fill("#project-name", name)
		b.choose("#project-parent", parent)
	}
	add("no such name", "")
	b.press("#confirm-yes")
	b.until(`document.querySelector("#confirm .problem")`)
	b.fill("#project-name", "firm")
	b.fill("#project-limit-cpu", "12.5")
	b.fill("#project-limit-instances", "0")
	b.press("#confirm-yes")
	b.until(there("firm"))
	add("shop", "firm")
	b.fill("#project-limit-memory", "64")
	b.fill("#project-user-instances", "3")
	b.screenshot(os.Getenv("BERTHD_SCREENSHOT_PROJECT"))
	b.press("#confirm-yes")
	b.until(there("shop"))
	firm, _ := project("firm")
	require.Equal(t, pool.Project{Name: "firm", Quota: pool.Resources{pool.CPU: 12500, pool.Instances: 0}, PerUser: pool.Resources{}}, firm)
	shop, _ := project("shop")
	require.Equal(t, pool.Project{Name: "shop", Parent: "firm", Quota: pool.Resources{pool.Memory: 64 * pool.GiB}, PerUser: pool.Resources{pool.Instances: 3}}, shop)

	// What the form does not show stays: weight, and the limits of single users.
	shop.Weight, shop.Users = 3, map[string]pool.Resources{"ada": {pool.Instances: 7}}
	shop.Quota["gpu"] = 2
	require.NoError(t, d.Manager().PutProject(t.Context(), shop))
	b.until(`document.querySelector('` + row("shop") + ` .limits')?.textContent.includes("GPU")`)
	b.press(row("shop") + " [data-verb=limits]")
	b.until(`document.querySelector("#project-limit-memory")?.value === "64" && document.querySelector("#project-limit-gpu")?.value === "2"`)
	require.Equal(t, []string{"", "default", "firm"}, eval[[]string](b, `[...document.querySelectorAll("#project-parent option")].map((o) => o.value)`), "not in itself")
	require.Empty(t, eval[[]string](b, unnamed))
	b.do(chromedp.Evaluate[chromedp.Void](`void (document.querySelector("#project-limit-memory").value = "")`))
	b.fill("#project-limit-gpu", "1")
	b.choose("#project-parent", "")
	b.press("#confirm-yes")
	b.until(`!document.querySelector("#confirm").open`)
	shop.Parent, shop.Quota = "", pool.Resources{"gpu": 1}
	eventually(t, func() bool {
		p, _ := project("shop")
		return p.Parent == "" && len(p.Quota) == 1
	}, "the new limits")
	now, _ := project("shop")
	require.Equal(t, shop, now)

	b.do(chromedp.EmulateViewport(390, 800))
	require.LessOrEqual(t, eval[int](b, "document.documentElement.scrollWidth"), 390)
	b.do(chromedp.EmulateViewport(1400, 1000))
	b.press(row("firm") + " [data-verb=remove]")
	b.until(`document.querySelector("#confirm").open`)
	b.press("#confirm-yes")
	b.until(`!document.querySelector('` + row("firm") + `')`)
	_, ok := project("firm")
	require.False(t, ok)
	b.clean("status of 422")
}
