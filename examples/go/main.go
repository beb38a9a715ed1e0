// Command main prints a response as it streams, using only the standard library. Run it with: go run main.go
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
)

type chunk struct {
	Choices []struct {
		Delta struct {
			Content string `json:"content"`
		} `json:"delta"`
	} `json:"choices"`
	Error *struct {
		Message string `json:"message"`
	} `json:"error"`
}

func main() {
	url := os.Getenv("NULPOINT_URL")
	if url == "" {
		url = "http://localhost:8080/v1"
	}
	body, err := json.Marshal(map[string]any{
		"model":    "gpt-5.4",
		"stream":   true,
		"messages": []map[string]string{{"role": "user", "content": "Hello!"}},
	})
	if err != nil {
		log.Fatal(err)
	}
	response, err := http.Post(url+"/chat/completions", "application/json", bytes.NewReader(body))
	if err != nil {
		log.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(response.Body)
		log.Fatalf("%s: %s", response.Status, text)
	}
	if err := show(response.Body); err != nil {
		log.Fatal(err)
	}
}

// show prints the content of the events. It returns an error if the stream ends without [DONE], because then the
// response is incomplete.
func show(events io.Reader) error {
	lines := bufio.NewScanner(events)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		data, isData := strings.CutPrefix(lines.Text(), "data: ")
		if !isData {
			continue
		}
		if data == "[DONE]" {
			fmt.Println()
			return nil
		}
		var event chunk
		if err := json.Unmarshal([]byte(data), &event); err != nil {
			return err
		}
		if event.Error != nil {
			return fmt.Errorf("the response was cut short: %s", event.Error.Message)
		}
		for _, choice := range event.Choices {
			fmt.Print(choice.Delta.Content)
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return fmt.Errorf("the response was cut short")
}
