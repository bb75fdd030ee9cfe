"""discord.py: what a bot usually does, against the server at DISCORD_API_URL."""

import os

import discord
import yarl
from discord import app_commands

URL = os.environ["DISCORD_API_URL"]
discord.http.Route.BASE = URL
discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(os.environ["DISCORD_GATEWAY_URL"])

client = discord.Client(intents=discord.Intents.default())
tree = app_commands.CommandTree(client)


@tree.command(description="Greets")
async def hello(interaction: discord.Interaction, name: str) -> None:
    await interaction.response.send_message(f"hello {name}")


@tree.command(description="Does what bots do")
async def work(interaction: discord.Interaction) -> None:
    await interaction.response.defer()
    async with interaction.channel.typing():
        message = await interaction.channel.send("first")
    await message.edit(content="second")
    await message.add_reaction("👍")
    fetched = await interaction.channel.fetch_message(message.id)
    assert fetched.content == "second"
    assert [str(each.emoji) for each in fetched.reactions] == ["👍"]
    assert [user.id async for user in fetched.reactions[0].users()] == [client.user.id]
    assert [each.content async for each in interaction.channel.history(limit=1)] == ["second"]
    assert (await interaction.guild.fetch_member(client.user.id)).bot
    await message.remove_reaction("👍", client.user)
    await message.delete()
    await interaction.edit_original_response(content="done")
    followup = await interaction.followup.send("more", wait=True)
    await followup.edit(content="more, edited")
    await followup.delete()


@client.event
async def setup_hook() -> None:
    await tree.sync()


client.run(os.environ["DISCORD_BOT_TOKEN"])
