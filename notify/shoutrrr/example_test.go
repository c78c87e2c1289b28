package shoutrrr_test

import (
	"fmt"

	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/notify/shoutrrr"
)

// What the library connects to by itself has to be allowed in so many words.
func ExampleNew() {
	n, err := shoutrrr.New(shoutrrr.Config{URL: notify.NewSecret("ntfy://:tk_0123456789@ntfy.example/ops")})
	fmt.Println(n != nil, err)
	_, err = shoutrrr.New(shoutrrr.Config{URL: notify.NewSecret("matrix://:token@matrix.example/?rooms=ops")})
	fmt.Println(err)
	// Output:
	// true <nil>
	// configure receiver: url invalid: ntfy, gotify, pushover, mattermost or rocketchat, or unguarded
}
