package discord_test

import (
	"fmt"

	"github.com/berthage/berthage/notify/discord"
)

func ExampleEscape() {
	fmt.Println(discord.Escape("@everyone **now** [here](https://x.example)"))
	// Output:
	// \@everyone \*\*now\*\* \[here\]\(https\://x.example\)
}
