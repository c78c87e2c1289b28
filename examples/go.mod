module github.com/berthage/berthage/examples

go 1.26.0

replace github.com/berthage/berthage => ..

require (
	github.com/berthage/berthage v0.0.0
	github.com/danielgtaylor/huma/v2 v2.37.2
	github.com/stretchr/testify v1.12.1
)

require go.yaml.in/yaml/v3 v3.0.5 // indirect
