from chatllm_cli.cli.app import main

main()
