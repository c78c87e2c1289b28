module github.com/berthage/berthage/internal/integration

go 1.26.0

replace github.com/berthage/berthage => ../..

require github.com/stretchr/testify v1.12.1

require go.yaml.in/yaml/v3 v3.0.5 // indirect
