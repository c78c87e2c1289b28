module github.com/berthage/berthage/examples

go 1.26.0

replace github.com/berthage/berthage => ..

require (
	github.com/berthage/berthage v0.0.0
	github.com/chromedp/chromedp v0.22.1
	github.com/danielgtaylor/huma/v2 v2.37.2
	github.com/stretchr/testify v1.12.1
)

require (
	github.com/chromedp/cdproto v0.159.1 // indirect
	github.com/go-json-experiment/json v0.0.0-20260213210345-44df1a37e875 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
)
