package browser_test

import (
	"bytes"
	"encoding/base32"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/auth/totp"
	"github.com/berthage/berthage/examples/berthd/daemon"
)

// person adds somebody by the command, and returns their first password.
func person(t *testing.T, d *daemon.Daemon, name string, options ...string) string {
	t.Helper()
	var out bytes.Buffer
	data := strings.TrimSuffix(d.TokenFile(), "/token")
	require.NoError(t, daemon.User(t.Context(), append([]string{"add", name, "--data", data}, options...), nil, &out))
	return strings.TrimSpace(strings.Split(out.String(), "\n")[2])
}

// logIn fills in the form and sends it.
func (b *browser) logIn(name, password, code string) {
	b.t.Helper()
	b.until(`document.querySelector("#signin")?.offsetParent && document.querySelector("#login-form")`)
	b.fill("#login-name", name)
	b.fill("#login-password", password)
	if code != "" {
		b.fill("#login-code", code)
	}
	b.press("#login-form button")
}

func (b *browser) page(path, id string) {
	b.t.Helper()
	b.do(chromedp.Evaluate[chromedp.Void](`void delete document.body.dataset.loaded`), chromedp.Navigate(eval[string](b, "location.origin")+path))
	b.until(fmt.Sprintf(`document.body.dataset.loaded && document.querySelector(%q)?.offsetParent`, id))
}

// An admin who was made by the command signs in, has a wrong password refused, sets up a second factor and changes the password, makes a
// token and a user, and signs out; the second factor is asked for from then on.
func TestPeopleOnTheirPages(t *testing.T) {
	b := open(t, 1400, 1000)
	d := serve(t, 2)
	password := person(t, d, "ada", "--role", "admin")
	b.do(chromedp.Navigate(d.URL()))
	b.logIn("ada", "wrong", "")
	b.until(`document.querySelector("#signin-error .problem")`)
	require.Contains(t, b.text("#signin-error"), "not right")
	require.Empty(t, eval[string](b, `document.querySelector("#login-password").value`), "what was typed is forgotten")
	require.Empty(t, eval[[]string](b, unnamed))
	b.logIn("ada", password, "")
	b.until(`document.querySelector("#main").offsetParent && document.querySelectorAll("#hosts-rows tr").length === 2`)
	require.Contains(t, b.text("#context"), "ada")
	require.True(t, eval[bool](b, `Boolean(document.querySelector("#launch-open").offsetParent && document.querySelector('#hosts-rows button[aria-label^=Cordon]').offsetParent)`))

	b.page("/account", "#second-begin")
	require.Contains(t, b.text("#me-facts"), "admin, everything")
	require.Equal(t, 1, eval[int](b, `document.querySelectorAll("#sessions-list li[data-id]").length`))
	b.press("#second-begin")
	b.until(`document.querySelector("#second-current")`)
	b.fill("#second-current", "wrong")
	b.press("#confirm-yes")
	b.until(`document.querySelector("#confirm .problem")`)
	b.fill("#second-current", password)
	b.press("#confirm-yes")
	b.until(`document.querySelector("#second-code")`)
	require.True(t, strings.HasPrefix(eval[string](b, `document.querySelector("#second-uri").href`), "otpauth://totp/berthd:ada?"))
	require.NotZero(t, eval[int](b, `document.querySelector("#confirm svg.qr path").getAttribute("d").length`))
	secret, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.ReplaceAll(b.text("#second-secret"), " ", ""))
	require.NoError(t, err)
	b.screenshot(os.Getenv("BERTHD_SCREENSHOT_SECOND"))
	now := time.Now()
	b.fill("#second-code", totp.Params{}.Code(secret, now))
	b.press("#confirm-yes")
	b.until(`document.querySelector("#second-codes")`)
	codes := strings.Fields(b.text("#second-codes"))
	require.Len(t, codes, 10)
	b.press("#confirm-yes")
	b.until(`!document.querySelector("#confirm").open && document.querySelector("#second-state .chip").textContent === "on"`)

	b.press("#password-change")
	b.until(`document.querySelector("#password-current")`)
	b.fill("#password-current", password)
	b.fill("#password-next", "another horse, another battery")
	b.fill("#password-again", "another horse, no battery")
	b.press("#confirm-yes")
	b.until(`document.querySelector("#confirm .problem")?.textContent.includes("not the same")`)
	b.fill("#password-again", "another horse, another battery")
	b.press("#confirm-yes")
	b.until(`!document.querySelector("#confirm").open`)

	b.press("#tokens-add")
	b.until(`document.querySelector("#token-label")`)
	b.fill("#token-label", "<i>nightly</i>")
	b.choose("#power-place", "everything")
	b.press("#confirm-yes")
	b.until(`document.querySelector("#token-secret")`)
	token := b.text("#token-secret")
	require.Regexp(t, "^berthd_[a-z2-7]{16}_[a-z2-7]+$", token)
	b.press("#confirm-yes")
	b.until(`document.querySelector("#tokens-list b")?.textContent === "<i>nightly</i>"`)
	require.NotContains(t, eval[string](b, "document.documentElement.outerHTML"), token)
	b.press("#keys-add")
	b.until(`document.querySelector("#key-line")`)
	b.fill("#key-line", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f <b>ada</b>")
	b.press("#confirm-yes")
	b.until(`document.querySelector("#keys-list b")?.textContent === "<b>ada</b>"`)
	require.Empty(t, eval[[]string](b, unnamed))
	b.screenshot(os.Getenv("BERTHD_SCREENSHOT_ACCOUNT"))

	// Users: one is added, given a role, has it taken away, and is disabled.
	b.page("/users", "#users-add")
	b.press("#users-add")
	b.until(`document.querySelector("#user-name")`)
	b.fill("#user-name", "<img/src=x>")
	b.fill("#user-password", "correct horse battery staple")
	b.press("#confirm-yes")
	const row = `#users-list li[data-name="<img/src=x>"]`
	b.until(fmt.Sprintf(`document.querySelector('%s b')?.textContent === "<img/src=x>"`, row))
	b.press(row + " [data-verb=bind]")
	b.until(`document.querySelector("#power-role")`)
	b.press("#confirm-yes")
	b.until(fmt.Sprintf(`document.querySelector('%s .powers').textContent.includes("viewer, in default and below")`, row))
	b.screenshot(os.Getenv("BERTHD_SCREENSHOT_USERS"))
	require.Empty(t, eval[[]string](b, unnamed))
	b.press(row + " [data-verb=unbind]")
	b.until(`document.querySelector("#confirm").open`)
	b.press("#confirm-yes")
	b.until(fmt.Sprintf(`document.querySelector('%s .powers').textContent.includes("no role")`, row))
	b.press(row + " [data-verb=disable]")
	b.until(`document.querySelector("#confirm").open`)
	b.press("#confirm-yes")
	b.until(fmt.Sprintf(`document.querySelector('%s[data-disabled]')`, row))

	b.press("#groups-add")
	b.until(`document.querySelector("#group-name")`)
	b.fill("#group-name", "corp:<b>operators</b>")
	b.choose("#power-role", "operator")
	b.choose("#power-place", "everything")
	b.press("#confirm-yes")
	const group = `#groups-list li[data-group="corp:<b>operators</b>"]`
	b.until(fmt.Sprintf(`document.querySelector('%s .powers')?.textContent.includes("operator, everything")`, group))
	require.Equal(t, "corp:<b>operators</b>", b.text(group+" b"))
	require.Empty(t, eval[[]string](b, unnamed))
	b.press(group + " [data-verb=unbind]")
	b.until(`document.querySelector("#confirm").open`)
	b.press("#confirm-yes")
	b.until(fmt.Sprintf(`!document.querySelector('%s')`, group))
	b.do(chromedp.EmulateViewport(390, 800))
	require.LessOrEqual(t, eval[int](b, "document.documentElement.scrollWidth"), 390)
	b.page("/account", "#sign-out")
	require.LessOrEqual(t, eval[int](b, "document.documentElement.scrollWidth"), 390)
	b.do(chromedp.EmulateViewport(1400, 1000))

	b.press("#sign-out")
	b.logIn("ada", "another horse, another battery", "")
	b.until(`document.querySelector("#signin-error .problem")`)
	b.logIn("ada", "another horse, another battery", codes[0])
	b.until(`document.querySelector("#main").offsetParent`)
	b.clean("status of 401", "status of 422")
}

// A viewer is offered nothing that changes anything but themselves, and sees nobody else.
func TestAViewerIsOfferedNothing(t *testing.T) {
	b := open(t, 1400, 1000)
	d := serve(t, 2)
	person(t, d, "ada", "--role", "admin")
	password := person(t, d, "vic", "--role", "viewer")
	b.do(chromedp.Navigate(d.URL()))
	b.logIn("vic", password, "")
	b.until(`document.querySelector("#main").offsetParent && document.querySelectorAll("#hosts-rows tr").length === 2`)
	require.False(t, eval[bool](b, `Boolean(document.querySelector("#launch-open").offsetParent || document.querySelector('a[href="/plan"]').offsetParent || document.querySelector('a[href="/messages"]').offsetParent)`))
	require.Empty(t, eval[[]string](b, `[...document.querySelectorAll("#hosts-rows .actions button, #instances-rows .actions button")].filter((x) => x.offsetParent).map((x) => x.title)`))
	for _, page := range []struct{ path, part string }{{"/alerts", "#alerts-list"}, {"/usage", "#requests-list"}, {"/users", "#users-list"}, {"/account", "#password-change"}} {
		b.page(page.path, page.part)
		offered := eval[[]string](b, `[...document.querySelectorAll(".top-actions a")].filter((x) => x.offsetParent).map((x) => x.getAttribute("href"))`)
		require.Subset(t, []string{"/", "/alerts", "/usage", "/charts", "/account", "/docs"}, offered, page.path)
		require.Contains(t, offered, "/", page.path)
		if page.path != "/account" {
			require.Empty(t, eval[[]string](b, `[...document.querySelectorAll("#main button")].filter((x) => x.offsetParent).map((x) => x.textContent)`), page.path)
		}
		if page.path == "/users" {
			require.Equal(t, []string{"vic"}, eval[[]string](b, `[...document.querySelectorAll("#users-list li[data-id] .what > b")].map((x) => x.textContent)`))
		}
	}
	require.Contains(t, b.text("#me-facts"), "viewer, everything")
}

// Readers of codes agree with what this gives; a change of the encoder that moves one module is found here.
func TestTheEncoderOfPictures(t *testing.T) {
	b := open(t, 800, 600)
	d := serve(t, 1)
	b.do(chromedp.Navigate(d.URL() + "/account"))
	b.do(chromedp.Evaluate[chromedp.Void](`void import("/assets/js/people/qr.js").then((m) => { window.rows = m.modules("otpauth://totp").map((r) => r.map((x) => (x ? "#" : ".")).join("")); })`))
	b.until(`window.rows`)
	require.Equal(t, goldenCode, strings.Join(eval[[]string](b, "window.rows"), "\n"))
}

// goldenCode is that of "otpauth://totp", as an independent reader (jsQR) has read it.
const goldenCode = `#######...#.#.#######
#.....#.....#.#.....#
#.###.#.#.#...#.###.#
#.###.#.....#.#.###.#
#.###.#..#..#.#.###.#
#.....#..###..#.....#
#######.#.#.#.#######
........#.##.........
###.#####.#.###...#..
####.#..#...###.#...#
.######.##.##...#.###
#.###..#..##.#.#....#
#.#.######.##....#.#.
........#...#.####.##
#######.#..###.##.###
#.....#.###.##.#...##
#.###.#.##.#...##..#.
#.###.#...###.#.##.#.
#.###.#.#.####.####.#
#.....#.####.......#.
#######.######.###.##`
