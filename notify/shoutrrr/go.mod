module github.com/berthage/berthage/notify/shoutrrr

go 1.25.0

replace github.com/berthage/berthage => ../..

require (
	github.com/berthage/berthage v0.0.0
	github.com/nicholas-fedor/shoutrrr v0.13.2
	github.com/stretchr/testify v1.12.1
)

require (
	github.com/mattn/go-colorable v0.1.14 // indirect
	github.com/mattn/go-isatty v0.0.20 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	golang.org/x/sys v0.47.0 // indirect
	golang.org/x/term v0.39.0 // indirect
)
