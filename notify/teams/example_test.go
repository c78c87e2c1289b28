package teams_test

import (
	"fmt"

	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/notify/teams"
)

func ExampleNew() {
	n, err := teams.New(teams.Config{URL: notify.NewSecret("https://flows.example/workflows/1/triggers/manual/paths/invoke?sig=abc")})
	fmt.Println(n != nil, err)
	_, err = teams.New(teams.Config{})
	fmt.Println(err)
	// Output:
	// true <nil>
	// configure receiver: url invalid: an absolute URL with https
}
