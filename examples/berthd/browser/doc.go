// Package browser tests the dashboard in a real Chromium: signed in by the printed link, over a daemon with a
// simulated fleet.
package browser
