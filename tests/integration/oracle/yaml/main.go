// The YAML reader of kubectl and the API server: one JSON string a line on standard input, for each a line with the
// JSON that it becomes, or with an error.
package main

import (
	"bufio"
	"encoding/json"
	"io"
	"log"
	"os"

	"sigs.k8s.io/yaml"
)

type answer struct {
	JSON  json.RawMessage `json:"json"`
	Error string          `json:"error"`
}

func main() {
	in, out := json.NewDecoder(bufio.NewReader(os.Stdin)), json.NewEncoder(os.Stdout)
	for {
		var text string
		if err := in.Decode(&text); err == io.EOF {
			return
		} else if err != nil {
			log.Fatal(err)
		}
		reply := answer{JSON: json.RawMessage("null")}
		if found, err := yaml.YAMLToJSON([]byte(text)); err != nil {
			reply.Error = err.Error()
		} else {
			reply.JSON = found
		}
		if err := out.Encode(reply); err != nil {
			log.Fatal(err)
		}
	}
}
